//! Twins on three nodes, each of which leads some shards and serves devices of all of them.

mod counter;
mod device;
mod log;
mod net;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use device::{Device, PATIENCE};
use net::{FRAMES_MAX, NODES, Net, SHARDS};
use runtime::error::Error;
use runtime::router::{Response, Router};
use tokio::time::{sleep, timeout};
use twins::command::{Answer, CommandId, Mode, State};
use twins::header::Header;
use twins::id::TwinId;
use twins::input::{Input, Send};
use twins::json::Json;
use twins::name::Name;
use twins::reply::{Closed, Reply};
use twins::time::Timestamp;

/// A twin of a shard.
fn twin(shard: u64, name: &str) -> TwinId {
    let ids = (0..).map(|n| TwinId::in_default_tenant(&format!("{name}-{n}")).unwrap());
    ids.into_iter().find(|id| u64::from(id.slot()) % SHARDS == shard).unwrap()
}

fn report(n: u64) -> Input {
    Input::Report(Json::of(&BTreeMap::from([("n", n)])).unwrap())
}

fn command(n: u128) -> Input {
    Input::Command(Send {
        id: id(n),
        name: Name::fixed("turn"),
        payload: Json::null().into(),
        deadline: Timestamp::MAX,
        mode: Mode::Queue,
        answer: Answer::None,
    })
}

fn id(n: u128) -> CommandId {
    format!("{:032x}", n).parse().unwrap()
}

async fn register(router: &Router, twin: &TwinId) {
    let input = Input::Register { kind: Name::fixed("device"), tags: None, with: None };
    router.ask(twin.clone(), Header::default(), input).await.unwrap();
}

/// How often a twin's report changed, and to what it did last.
async fn reported(router: &Router, twin: &TwinId) -> (u64, String) {
    let twin = router.look(twin).await.unwrap().expect("it is registered");
    (twin.reported().version(), twin.reported().document().as_str().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_serves_any_device() {
    let net = Net::start(1).await;
    for shard in 0..SHARDS {
        for node in 1..=NODES {
            let (router, name) = (net.router(node), format!("d{node}"));
            let id = twin(shard, &name);

            register(router, &id).await;
            let mut device = Device::connect(router, &id).await;
            device.listen().await;
            device.tell((1..=10).map(report).collect()).await;
            let other = net.router(node % NODES + 1).clone();
            let (asked, name) = (id.clone(), Name::fixed("temperature"));
            let asking =
                tokio::spawn(
                    async move { other.request(asked, name, Json::null().into(), None, PATIENCE).await },
                );
            device.until("a request", |device| !device.requests.is_empty()).await;
            let response = Response { status: 200, payload: Json::null().into() };

            assert!(router.respond(&id, &device.requests[0], response.clone()).await);
            assert_eq!(asking.await.unwrap().unwrap(), response);
            assert_eq!(reported(router, &id).await, (10, r#"{"n":10}"#.to_owned()));
        }
    }
    for node in 1..=NODES {
        let listed = net.router(node).list("default", None, 100).await.unwrap();
        assert_eq!(listed.len() as u64, SHARDS * NODES);
        assert!(net.router(node).unready().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_taken_once_and_in_order_whatever_breaks() {
    for seed in 1..=4 {
        let net = Net::start(seed).await;
        net.disturb(20, 20);
        let mut devices = Vec::new();
        for shard in 0..SHARDS {
            for node in 1..=NODES {
                let (router, id) = (net.router(node).clone(), twin(shard, &format!("d{node}")));
                devices.push(tokio::spawn(async move {
                    let mut device = Device::connect(&router, &id).await;
                    for n in 0..20 {
                        device.tell((1..=5).map(|m| report(n * 5 + m)).collect()).await;
                        sleep(Duration::from_millis(3)).await;
                    }
                    id.clone()
                }));
            }
        }
        for turn in 0..12 {
            sleep(Duration::from_millis(30)).await;
            let shard = (turn % SHARDS) as usize;
            if turn % 3 == 0 {
                net.groups[shard].mute();
                sleep(Duration::from_millis(5)).await;
            }
            net.lead(shard, Some((seed + turn) % NODES + 1));
            if turn % 4 == 2 {
                net.cut(turn % NODES + 1, (turn + 1) % NODES + 1);
                sleep(Duration::from_millis(40)).await;
                net.heal();
                net.disturb(20, 20);
            }
        }
        net.heal();

        for device in devices {
            let id = timeout(2 * PATIENCE, device).await.expect("nobody waits for ever").unwrap();
            for node in 1..=NODES {
                let expected = (100, r#"{"n":100}"#.to_owned());
                assert_eq!(reported(net.router(node), &id).await, expected, "seed {seed}, `{id}`");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_connects_to_another_node_ends_its_connection_to_the_one_before() {
    let net = Net::start(1).await;
    let id = twin(2, "moving");
    let mut older = Device::connect(net.router(1), &id).await;
    older.tell(vec![report(1)]).await;

    let mut newer = Device::connect(net.router(2), &id).await;

    older.until("its end", |device| device.closed.is_some()).await;
    assert_eq!(older.closed, Some(Closed::TakenOver));
    newer.tell(vec![report(2)]).await;
    assert_eq!(reported(net.router(1), &id).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_not_lost_with_the_leader_that_sent_it() {
    let net = Net::start(1).await;
    let id = twin(0, "valve");
    let mut device = Device::connect(net.router(2), &id).await;
    device.listen().await;
    net.cut(1, 2);
    net.router(1).ask(id.clone(), Header::default(), command(1)).await.unwrap();

    net.lead(0, Some(3));
    device.until("the command", |device| !device.commands.is_empty()).await;
    assert_eq!(device.commands, [(self::id(1), 1)], "under the attempt that the first leader made");
    device.acknowledge().await;

    let twin = net.router(3).look(&id).await.unwrap().unwrap();
    assert_eq!(twin.commands().get(self::id(1)).map(|command| command.state), Some(State::Delivered));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_lost_on_its_way_comes_again_once_the_way_is_there() {
    let net = Net::start(1).await;
    let id = twin(0, "valve");
    let mut device = Device::connect(net.router(2), &id).await;
    device.listen().await;
    net.cut(1, 2);
    net.router(1).ask(id.clone(), Header::default(), command(1)).await.unwrap();

    net.heal();

    device.until("the command", |device| !device.commands.is_empty()).await;
    assert_eq!(device.commands, [(self::id(1), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_between_twins_arrive_once_whoever_leads_their_shards() {
    let net = Net::start(3).await;
    let (caller, called) = (twin(0, "caller"), twin(1, "called"));
    let router = net.router(3);
    for id in [&caller, &called] {
        let input = Input::Register { kind: Name::fixed("counter"), tags: None, with: None };
        router.ask(id.clone(), Header::default(), input).await.unwrap();
    }
    net.disturb(50, 50);

    for turn in 0..10 {
        let body = Json::of(&(called.id(), 10)).unwrap();
        let input = Input::Sample { channel: Name::fixed("call"), body: body.into() };
        net.router(net.groups[0].leader().unwrap())
            .ask(caller.clone(), Header::default(), input)
            .await
            .unwrap();
        net.lead(1, Some(turn % NODES + 1));
        if turn % 3 == 0 {
            net.lead(0, Some(turn % NODES + 1));
        }
    }
    net.heal();

    let began = Instant::now();
    loop {
        let input = Input::Call { name: Name::fixed("count"), argument: Json::null() };
        let counted = router.ask(called.clone(), Header::default(), input).await;
        let expected = Json::of(&(100, 5_050)).unwrap();
        match counted {
            Ok(Reply::Returned(counted)) if counted == expected => break,
            _ if began.elapsed() < PATIENCE => sleep(Duration::from_millis(20)).await,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_go_on_while_the_lead_goes_round() {
    let net = Net::start(1).await;
    let id = twin(1, "steady");
    let mut device = Device::connect(net.router(2), &id).await;
    device.listen().await;

    for turn in 0..6 {
        net.lead(1, Some(turn % NODES + 1));
        net.router(1).ask(id.clone(), Header::default(), command(u128::from(turn) + 1)).await.unwrap();
        device.until("the command", |device| !device.commands.is_empty()).await;
        device.acknowledge().await;
    }

    assert_eq!(device.closed, None);
    let twin = net.router(2).look(&id).await.unwrap().unwrap();
    assert_eq!(twin.commands().ended().filter(|command| command.attempt == 1).count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_contact_to_the_leader_lets_its_devices_go() {
    let net = Net::start(1).await;
    let id = twin(0, "lonely");
    let mut device = Device::connect(net.router(2), &id).await;

    let began = Instant::now();
    net.cut(1, 2);
    net.cut(3, 2);

    device.until("its end", |device| device.closed.is_some()).await;
    assert_eq!(device.closed, Some(Closed::Unavailable));
    assert!(began.elapsed() < Duration::from_secs(3), "before the leader takes it for gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_where_nobody_leads_hears_so_soon() {
    let net = Net::start(1).await;
    let id = twin(0, "silent");
    register(net.router(2), &id).await;
    net.lead(0, None);

    let began = Instant::now();
    let asked = net.router(2).ask(id.clone(), Header::default(), Input::Read).await;
    assert!(matches!(asked, Err(Error::Unwritten { .. })), "{asked:?}");
    assert!(began.elapsed() < Duration::from_secs(6));

    net.lead(0, Some(3));
    let asked = net.router(2).ask(id, Header::default(), Input::Read).await;
    assert!(matches!(asked, Ok(Reply::Twin(_))), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_takes_nothing_costs_the_others_little_and_comes_back() {
    let net = Net::start(1).await;
    let (id, other) = (twin(0, "deaf"), twin(0, "other"));
    let mut device = Device::connect(net.router(2), &id).await;
    device.listen().await;
    register(net.router(3), &other).await;

    net.deafen(2);
    for n in 0..200 {
        net.router(1).ask(id.clone(), Header::default(), command(n + 1)).await.unwrap();
        net.router(3).ask(other.clone(), Header::default(), report(n as u64 + 1)).await.unwrap();
    }
    assert!(net.under_way(2) <= 2 * FRAMES_MAX);
    assert_eq!(reported(net.router(3), &other).await.0, 200);

    net.heal();
    for _ in 0..200 {
        device.until("a command", |device| !device.commands.is_empty()).await;
        device.acknowledge().await;
    }
    let twin = net.router(1).look(&id).await.unwrap().unwrap();
    assert!(twin.commands().is_empty());
}
