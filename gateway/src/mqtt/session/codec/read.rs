//! What a client sent, without its version.

use bytes::Bytes;
use mqtt_protocol_core::mqtt::ArcPayload;
use mqtt_protocol_core::mqtt::packet::{
    GenericPacketTrait, Packet as Coded, PayloadFormat, Property, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{AuthReasonCode, DisconnectReasonCode, PubrecReasonCode};

use crate::trace;

use super::super::packet::{Auth, Connect, Packet, Publish, Subscribe, Will};
use super::super::reason::Reason;
use super::Codec;

impl Codec {
    /// A packet as the session sees it. A packet id of 0, a topic with wildcards, a NUL and flags of a CONNECT that
    /// contradict each other are malformed, which the codec lets pass.
    pub(super) fn understand(&mut self, packet: &Coded) -> Result<Packet, Reason> {
        let packet = match packet {
            Coded::V3_1_1Connect(connect) => {
                check_flags(packet)?;
                Packet::Connect(Box::new(connect_v3(connect)))
            }
            Coded::V5_0Connect(connect) => {
                check_flags(packet)?;
                self.explains = !connect.props().iter().any(
                    |property| matches!(property, Property::RequestProblemInformation(asked) if asked.val() == 0),
                );
                let aliases = connect.props().iter().find_map(|property| match property {
                    Property::TopicAliasMaximum(aliases) => Some(usize::from(aliases.val())),
                    _ => None,
                });
                self.aliases_max = aliases.unwrap_or(0).min(ALIASES_MAX);
                Packet::Connect(Box::new(connect_v5(connect)))
            }
            Coded::V3_1_1Publish(publish) => Packet::Publish(Publish {
                id: publish.packet_id(),
                qos: publish.qos() as u8,
                topic: publish.topic_name().to_owned(),
                payload: payload(publish.payload()),
                ..Publish::default()
            }),
            Coded::V5_0Publish(publish) => {
                let mut read = described(publish.props());
                read.id = publish.packet_id();
                read.qos = publish.qos() as u8;
                read.topic = publish.topic_name().to_owned();
                read.payload = payload(publish.payload());
                Packet::Publish(read)
            }
            Coded::V3_1_1Puback(puback) => Packet::Puback { id: puback.packet_id(), refused: false },
            Coded::V5_0Puback(puback) => {
                let refused = puback.reason_code().is_some_and(|code| code.is_failure());
                Packet::Puback { id: puback.packet_id(), refused }
            }
            Coded::V3_1_1Subscribe(subscribe) => Packet::Subscribe(Subscribe {
                id: subscribe.packet_id(),
                filters: filters(subscribe.entries()),
                identifier: None,
            }),
            Coded::V5_0Subscribe(subscribe) => Packet::Subscribe(Subscribe {
                id: subscribe.packet_id(),
                filters: filters(subscribe.entries()),
                identifier: identifier(subscribe.props())?,
            }),
            Coded::V3_1_1Unsubscribe(unsubscribe) => Packet::Unsubscribe {
                id: unsubscribe.packet_id(),
                filters: unsubscribe.entries().iter().map(|filter| filter.as_str().to_owned()).collect(),
            },
            Coded::V5_0Unsubscribe(unsubscribe) => Packet::Unsubscribe {
                id: unsubscribe.packet_id(),
                filters: unsubscribe.entries().iter().map(|filter| filter.as_str().to_owned()).collect(),
            },
            Coded::V3_1_1Pingreq(_) | Coded::V5_0Pingreq(_) => Packet::Ping,
            Coded::V3_1_1Disconnect(_) => Packet::Disconnect { with_will: false, expiry_s: None },
            Coded::V5_0Disconnect(disconnect) => {
                let code = disconnect.reason_code().unwrap_or(DisconnectReasonCode::NormalDisconnection);
                let with_will = code != DisconnectReasonCode::NormalDisconnection;
                let expiry_s = disconnect.props().as_ref().and_then(|properties| expiry(properties));
                Packet::Disconnect { with_will, expiry_s }
            }
            Coded::V5_0Auth(auth) => {
                let again = match auth.reason_code() {
                    Some(AuthReasonCode::ContinueAuthentication) => false,
                    Some(AuthReasonCode::ReAuthenticate) => true,
                    // The node alone says that it succeeded.
                    _ => return Err(Reason::Protocol),
                };
                let authentication = auth.props().as_ref().and_then(|properties| authentication(properties));
                Packet::Auth(Auth { again, authentication })
            }
            Coded::V3_1_1Pubrec(pubrec) => Packet::Pubrec { id: pubrec.packet_id(), refused: false },
            Coded::V5_0Pubrec(pubrec) => {
                // The codec frees the packet id of all but a plain success.
                let code = pubrec.reason_code().unwrap_or(PubrecReasonCode::Success);
                Packet::Pubrec { id: pubrec.packet_id(), refused: code != PubrecReasonCode::Success }
            }
            Coded::V3_1_1Pubrel(pubrel) => Packet::Pubrel(pubrel.packet_id()),
            Coded::V5_0Pubrel(pubrel) => Packet::Pubrel(pubrel.packet_id()),
            Coded::V3_1_1Pubcomp(pubcomp) => Packet::Pubcomp(pubcomp.packet_id()),
            Coded::V5_0Pubcomp(pubcomp) => Packet::Pubcomp(pubcomp.packet_id()),
            _ => Packet::Other("a server's packet"),
        };
        let is_right = match &packet {
            Packet::Publish(publish) => publish.id != Some(0) && is_topic(&publish.topic),
            Packet::Subscribe(subscribe) => {
                subscribe.id != 0 && subscribe.filters.iter().all(|(filter, _)| is_filter(filter))
            }
            Packet::Pubrel(id) => *id != 0,
            Packet::Unsubscribe { id, filters } => *id != 0 && filters.iter().all(|filter| is_filter(filter)),
            _ => true,
        };
        is_right.then_some(packet).ok_or(Reason::Malformed)
    }
}

/// How many topics a client is told of under aliases, at most: more than there are that come often.
const ALIASES_MAX: usize = 16;

/// The number that is to be shown with what comes by a subscription. 0 is none.
fn identifier(properties: &[Property]) -> Result<Option<u32>, Reason> {
    let identifier = properties.iter().find_map(|property| match property {
        Property::SubscriptionIdentifier(identifier) => Some(identifier.val()),
        _ => None,
    });
    if identifier == Some(0) { Err(Reason::Protocol) } else { Ok(identifier) }
}

/// How many seconds a session is to outlive its connection.
fn expiry(properties: &[Property]) -> Option<u32> {
    properties.iter().find_map(|property| match property {
        Property::SessionExpiryInterval(expiry) => Some(expiry.val()),
        _ => None,
    })
}

/// The method of enhanced authentication, where one is named, and its data.
fn authentication(properties: &[Property]) -> Option<(String, Vec<u8>)> {
    let method = properties.iter().find_map(|property| match property {
        Property::AuthenticationMethod(method) => Some(method.val().to_owned()),
        _ => None,
    });
    let data = properties.iter().find_map(|property| match property {
        Property::AuthenticationData(data) => Some(data.val().to_vec()),
        _ => None,
    });
    Some((method?, data.unwrap_or_default()))
}

/// Whether it could be a topic's name at all.
fn is_topic(name: &str) -> bool {
    !name.is_empty() && !name.contains(['\0', '+', '#'])
}

/// Whether it could be a filter at all.
fn is_filter(filter: &str) -> bool {
    !filter.is_empty() && !filter.contains('\0')
}

/// The flags of a CONNECT: the lowest is reserved, a will has a quality of service up to 2, and where there is no will
/// nothing is said of one.
fn check_flags(connect: &Coded) -> Result<(), Reason> {
    let written = connect.to_continuous_buffer();
    // Behind the type and the length: the protocol's name and level, 7 bytes, then the flags.
    let length = written.iter().skip(1).take_while(|&&byte| byte >= 0x80).count() + 1;
    let flags = written.get(1 + length + 7).ok_or(Reason::Malformed)?;
    let (reserved, has_will, of_will) = (flags & 1, flags & 0b100 != 0, flags & 0b0011_1000);
    let qos_of_will = (flags >> 3) & 0b11;
    let is_right = reserved == 0 && qos_of_will < 3 && (has_will || of_will == 0);
    is_right.then_some(()).ok_or(Reason::Malformed)
}

fn connect_v3(connect: &v3_1_1::Connect) -> Connect {
    let will = connect.will_topic().map(|topic| Will {
        message: Publish {
            qos: connect.will_qos() as u8,
            topic: topic.to_owned(),
            payload: Bytes::copy_from_slice(connect.will_payload().unwrap_or_default()),
            ..Publish::default()
        },
        delay_s: 0,
    });
    Connect {
        v5: false,
        client: connect.client_id().to_owned(),
        username: connect.user_name().map(str::to_owned),
        password: connect.password().map(<[u8]>::to_vec),
        clean: connect.clean_session(),
        keep: !connect.clean_session(),
        expiry_s: None,
        keep_alive: connect.keep_alive(),
        authentication: None,
        will,
    }
}

fn connect_v5(connect: &v5_0::Connect) -> Connect {
    let will = connect.will_topic().map(|topic| {
        let delay = connect.will_props().iter().find_map(|property| match property {
            Property::WillDelayInterval(delay) => Some(delay.val()),
            _ => None,
        });
        let mut message = described(connect.will_props());
        message.qos = connect.will_qos() as u8;
        message.topic = topic.to_owned();
        message.payload = Bytes::copy_from_slice(connect.will_payload().unwrap_or_default());
        Will { message, delay_s: delay.unwrap_or(0) }
    });
    let expiry_s = expiry(connect.props()).unwrap_or(0);
    Connect {
        v5: true,
        client: connect.client_id().to_owned(),
        username: connect.user_name().map(str::to_owned),
        password: connect.password().map(<[u8]>::to_vec),
        clean: connect.clean_start(),
        keep: expiry_s > 0,
        expiry_s: Some(expiry_s).filter(|expiry_s| *expiry_s < u32::MAX),
        keep_alive: connect.keep_alive(),
        authentication: authentication(connect.props()),
        will,
    }
}

/// What the properties say of a message.
fn described(properties: &[Property]) -> Publish {
    let mut publish = Publish::default();
    for property in properties {
        match property {
            Property::ContentType(content_type) => publish.content_type = Some(content_type.val().to_owned()),
            Property::PayloadFormatIndicator(format) => {
                publish.text = format.val() == PayloadFormat::String as u8
            }
            Property::UserProperty(user) if user.key() == "time" => {
                publish.time = Some(user.val().to_owned())
            }
            Property::UserProperty(user) if user.key() == trace::TRACEPARENT => {
                publish.trace = trace::parse(user.val());
            }
            Property::UserProperty(user) if user.key() == "mid" => publish.mid = Some(user.val().to_owned()),
            _ => {}
        }
    }
    publish
}

fn filters(entries: &[mqtt_protocol_core::mqtt::packet::SubEntry]) -> Vec<(String, u8)> {
    entries.iter().map(|entry| (entry.topic_filter().to_owned(), entry.sub_opts().qos() as u8)).collect()
}

/// The payload where it lies in the packet: nothing is copied.
fn payload(payload: &ArcPayload) -> Bytes {
    struct Owner(ArcPayload);

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.as_slice()
        }
    }

    if payload.is_empty() { Bytes::new() } else { Bytes::from_owner(Owner(payload.clone())) }
}
