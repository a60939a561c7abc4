//! What the wire in memory promises.

use super::*;

/// Remembers what it hears.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.0))
    }

    fn note(&self, what: String) {
        lock(&self.0).push(what);
    }
}

impl Hears for Notes {
    fn heard(&self, from: Contact, lane: Lane, message: Bytes) {
        self.note(format!("{}.{} {lane:?} {}", from.node, from.generation, message[0]));
    }

    fn bulk(
        &self,
        _from: Contact,
        what: Bytes,
        mut stream: Box<dyn BulkRead>,
    ) -> Boxed<Result<Bytes, String>> {
        Box::pin(async move {
            let mut sum = what[0];
            loop {
                match stream.read().await {
                    Ok(Some(piece)) => sum += piece[0],
                    Ok(None) => return Ok(Bytes::from(vec![sum])),
                    Err(error) => return Err(error.to_string()),
                }
            }
        })
    }

    fn reached(&self, peer: Contact) {
        self.note(format!("reached {}.{}", peer.node, peer.generation));
    }

    fn lost(&self, peer: u64) {
        self.note(format!("lost {peer}"));
    }
}

fn two() -> (Mesh, [Arc<Notes>; 2]) {
    let mesh = Mesh::new(1, Duration::from_millis(1)..Duration::from_millis(9));
    let nodes = [Arc::new(Notes::default()), Arc::new(Notes::default())];
    mesh.join(1, 7, nodes[0].clone());
    mesh.join(2, 8, nodes[1].clone());
    (mesh, nodes)
}

async fn arrive() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_keeps_its_order_and_a_cut_loses_what_is_under_way() {
    let (mesh, [one, two]) = two();
    let wire = mesh.wire(1);
    assert_eq!((one.take(), two.take()), (vec!["reached 2.8".to_owned()], vec!["reached 1.7".to_owned()]));

    (0..20).for_each(|n| wire.send(2, Lane::Pulse, Bytes::from(vec![n])).unwrap());
    arrive().await;
    wire.send(2, Lane::Log, Bytes::from(vec![99])).unwrap();
    mesh.cut(2, 1);
    assert_eq!(wire.send(2, Lane::Log, Bytes::from(vec![98])), Err(NotSent::Unreached));
    mesh.mend(1, 2);
    wire.send(2, Lane::Log, Bytes::from(vec![97])).unwrap();
    arrive().await;

    let mut expected: Vec<String> = (0..20).map(|n| format!("1.7 Pulse {n}")).collect();
    expected.extend(["lost 1", "reached 1.7", "1.7 Log 97"].map(str::to_owned));
    assert_eq!(two.take(), expected);
    assert_eq!(one.take(), ["lost 2", "reached 2.8"]);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_holds_too_much_is_full() {
    let (mesh, _nodes) = two();
    let wire = mesh.wire(1);
    let send = || wire.send(2, Lane::Forward, Bytes::from_static(b"."));

    let sent = std::iter::repeat_with(send).take_while(Result::is_ok).count();

    assert_eq!(sent, LANE_MESSAGES);
    arrive().await;
    assert_eq!(send(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_read_to_its_end_and_answered_or_given_up() {
    let (mesh, _nodes) = two();
    let piece = |n| Bytes::from(vec![n]);

    let mut stream = mesh.wire(2).bulk(1, piece(1)).await.unwrap();
    for n in 2..20 {
        stream.write(piece(n)).await.unwrap();
    }
    assert_eq!(stream.finish().await.unwrap(), piece((1..20).sum()));

    let mut stream = mesh.wire(2).bulk(1, piece(1)).await.unwrap();
    mesh.leave(1);
    assert!(stream.write(piece(2)).await.is_err());
    assert!(stream.finish().await.is_err());
    assert!(mesh.wire(2).bulk(1, piece(1)).await.is_err());
    assert_eq!(mesh.wire(2).contact(1), None);
}
