//! What the client is told, in its version.

use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, AuthenticationData, AuthenticationMethod, Packet as Coded, Property,
    ReasonString, ReceiveMaximum, RetainAvailable, ServerKeepAlive, SessionExpiryInterval,
    SharedSubscriptionAvailable, SubscriptionIdentifierAvailable, TopicAliasMaximum, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    AuthReasonCode, ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, PubackReasonCode,
    PubcompReasonCode, PubrecReasonCode, SubackReasonCode, SubackReturnCode, UnsubackReasonCode,
};

use super::super::packet::{Ack, Welcome};
use super::super::reason::Reason;
use super::{Codec, TooLarge, append};

impl Codec {
    /// The connection begins, unless the client takes no packet that could tell it so.
    pub(in super::super) fn welcome(
        &mut self,
        welcome: &Welcome<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLarge> {
        let packet = if self.is_v5() {
            let connack = v5_0::Connack::builder()
                .session_present(welcome.present)
                .reason_code(ConnectReasonCode::Success);
            granted(welcome).and_then(|granted| connack.props(granted).build()).map(Coded::from)
        } else {
            let connack = v3_1_1::Connack::builder().session_present(welcome.present);
            connack.return_code(ConnectReturnCode::Accepted).build().map(Coded::from)
        };
        self.send(packet, out).then_some(()).ok_or(TooLarge)
    }

    /// The connection does not begin.
    pub(in super::super) fn turn_away(&mut self, reason: Reason, why: &str, out: &mut Vec<u8>) {
        let packet = if self.is_v5() {
            let connack = v5_0::Connack::builder().session_present(false).reason_code(at_connect(reason));
            let connack = match explained(why) {
                Some(why) => connack.props(vec![why]),
                None => connack,
            };
            connack.build().map(Coded::from)
        } else {
            let connack = v3_1_1::Connack::builder().session_present(false);
            connack.return_code(at_connect_v3(reason)).build().map(Coded::from)
        };
        self.send(packet, out);
    }

    /// Asks the client for an answer to this.
    pub(in super::super) fn challenge(&mut self, method: &str, random: &[u8], out: &mut Vec<u8>) {
        let auth = AuthenticationMethod::new(method).and_then(|method| {
            let properties = vec![method.into(), AuthenticationData::new(random.to_vec())?.into()];
            let auth = v5_0::Auth::builder().reason_code(AuthReasonCode::ContinueAuthentication);
            auth.props(properties).build()
        });
        self.send(auth.map(Coded::from), out);
    }

    /// The client has authenticated anew.
    pub(in super::super) fn authenticated(&mut self, method: &str, out: &mut Vec<u8>) {
        let auth = AuthenticationMethod::new(method).and_then(|method| {
            v5_0::Auth::builder().reason_code(AuthReasonCode::Success).props(vec![method.into()]).build()
        });
        self.send(auth.map(Coded::from), out);
    }

    /// Answers a packet of the client.
    pub(in super::super) fn acknowledge(&mut self, ack: Ack<'_>, out: &mut Vec<u8>) {
        let packet = self.ack(ack, self.explains);
        if !self.send(packet, out) {
            // Its words may have made it larger than the client takes.
            let packet = self.ack(ack, false);
            self.send(packet, out);
        }
    }

    /// Ends the connection. A client of 3.1.1 is told nothing; nor is one that was told already.
    pub(in super::super) fn disconnect(&mut self, reason: Reason, why: &str, out: &mut Vec<u8>) {
        if !self.is_v5() {
            return;
        }
        let code = DisconnectReasonCode::try_from(reason as u8).unwrap_or(match reason {
            Reason::Unavailable => DisconnectReasonCode::ServerBusy,
            _ => DisconnectReasonCode::UnspecifiedError,
        });
        let disconnect = v5_0::Disconnect::builder().reason_code(code);
        let disconnect = match explained(why) {
            Some(why) => disconnect.props(vec![why]),
            None => disconnect,
        };
        self.send(disconnect.build().map(Coded::from), out);
    }

    fn ack(&self, ack: Ack<'_>, explains: bool) -> Result<Coded, MqttError> {
        if !self.is_v5() {
            return match ack {
                Ack::Puback { id, .. } => v3_1_1::Puback::builder().packet_id(id).build().map(Coded::from),
                Ack::Pubrec { id, .. } => v3_1_1::Pubrec::builder().packet_id(id).build().map(Coded::from),
                Ack::Pubcomp { id, .. } => v3_1_1::Pubcomp::builder().packet_id(id).build().map(Coded::from),
                Ack::Suback { id, reasons, .. } => {
                    let codes = reasons.iter().map(|&reason| at_subscribe_v3(reason)).collect();
                    v3_1_1::Suback::builder().packet_id(id).return_codes(codes).build().map(Coded::from)
                }
                Ack::Unsuback { id, .. } => {
                    v3_1_1::Unsuback::builder().packet_id(id).build().map(Coded::from)
                }
            };
        }
        let explained = |why: &str| explained(why).filter(|_| explains);
        match ack {
            Ack::Puback { id, reason: Reason::Success, .. } => {
                v5_0::Puback::builder().packet_id(id).build().map(Coded::from)
            }
            Ack::Puback { id, reason, why } => {
                let code =
                    PubackReasonCode::try_from(reason as u8).unwrap_or(PubackReasonCode::UnspecifiedError);
                let puback = v5_0::Puback::builder().packet_id(id).reason_code(code);
                let puback = match explained(why) {
                    Some(why) => puback.props(vec![why]),
                    None => puback,
                };
                puback.build().map(Coded::from)
            }
            Ack::Pubrec { id, reason: Reason::Success, .. } => {
                v5_0::Pubrec::builder().packet_id(id).build().map(Coded::from)
            }
            Ack::Pubrec { id, reason, why } => {
                let code =
                    PubrecReasonCode::try_from(reason as u8).unwrap_or(PubrecReasonCode::UnspecifiedError);
                let pubrec = v5_0::Pubrec::builder().packet_id(id).reason_code(code);
                let pubrec = match explained(why) {
                    Some(why) => pubrec.props(vec![why]),
                    None => pubrec,
                };
                pubrec.build().map(Coded::from)
            }
            Ack::Pubcomp { id, reason } => {
                let pubcomp = v5_0::Pubcomp::builder().packet_id(id);
                let pubcomp = match PubcompReasonCode::try_from(reason as u8) {
                    Ok(PubcompReasonCode::Success) | Err(_) => pubcomp,
                    Ok(code) => pubcomp.reason_code(code),
                };
                pubcomp.build().map(Coded::from)
            }
            Ack::Suback { id, reasons, why } => {
                let code = |&reason| {
                    SubackReasonCode::try_from(reason as u8).unwrap_or(SubackReasonCode::UnspecifiedError)
                };
                let suback =
                    v5_0::Suback::builder().packet_id(id).reason_codes(reasons.iter().map(code).collect());
                let suback = match explained(why) {
                    Some(why) => suback.props(vec![why]),
                    None => suback,
                };
                suback.build().map(Coded::from)
            }
            Ack::Unsuback { id, reasons } => {
                let code = |&reason| {
                    UnsubackReasonCode::try_from(reason as u8).unwrap_or(UnsubackReasonCode::UnspecifiedError)
                };
                let codes = reasons.iter().map(code).collect();
                v5_0::Unsuback::builder().packet_id(id).reason_codes(codes).build().map(Coded::from)
            }
        }
    }

    /// Appends a packet; returns whether it could be sent.
    pub(super) fn send(&mut self, packet: Result<Coded, MqttError>, out: &mut Vec<u8>) -> bool {
        let Ok(packet) = packet else { return false };
        let mut sent = false;
        for event in self.connection.send(packet) {
            if let Event::RequestSendPacket { packet, .. } = event {
                append(&packet, out);
                self.packets[1] += 1;
                sent = true;
            }
        }
        sent
    }
}

/// What the client is granted. (The codec adds the maximum packet size.)
fn granted(welcome: &Welcome<'_>) -> Result<Vec<Property>, MqttError> {
    let mut granted = vec![
        ReceiveMaximum::new(welcome.receive_max)?.into(),
        RetainAvailable::new(1)?.into(),
        TopicAliasMaximum::new(welcome.topic_alias_max)?.into(),
        SubscriptionIdentifierAvailable::new(1)?.into(),
        SharedSubscriptionAvailable::new(0)?.into(),
    ];
    if let Some(expiry_s) = welcome.expiry_s {
        granted.push(SessionExpiryInterval::new(expiry_s)?.into());
    }
    if let Some(keep_alive) = welcome.keep_alive {
        granted.push(ServerKeepAlive::new(keep_alive)?.into());
    }
    if let Some(client) = welcome.assigned_client {
        granted.push(AssignedClientIdentifier::new(client)?.into());
    }
    if let Some(method) = welcome.method {
        granted.push(AuthenticationMethod::new(method)?.into());
    }
    Ok(granted)
}

fn explained(why: &str) -> Option<Property> {
    (!why.is_empty()).then(|| ReasonString::new(why).ok()).flatten().map(Property::from)
}

fn at_connect(reason: Reason) -> ConnectReasonCode {
    ConnectReasonCode::try_from(reason as u8).unwrap_or(match reason {
        Reason::ShuttingDown => ConnectReasonCode::ServerUnavailable,
        _ => ConnectReasonCode::UnspecifiedError,
    })
}

fn at_connect_v3(reason: Reason) -> ConnectReturnCode {
    match reason {
        Reason::Version => ConnectReturnCode::UnacceptableProtocolVersion,
        Reason::ClientId => ConnectReturnCode::IdentifierRejected,
        Reason::Credentials => ConnectReturnCode::BadUserNameOrPassword,
        Reason::Unavailable
        | Reason::Busy
        | Reason::ShuttingDown
        | Reason::Quota
        | Reason::ConnectionRate
        | Reason::Unspecified
        | Reason::Implementation => ConnectReturnCode::ServerUnavailable,
        _ => ConnectReturnCode::NotAuthorized,
    }
}

fn at_subscribe_v3(reason: Reason) -> SubackReturnCode {
    match reason {
        Reason::Success => SubackReturnCode::SuccessMaximumQos0,
        Reason::GrantedQos1 => SubackReturnCode::SuccessMaximumQos1,
        Reason::GrantedQos2 => SubackReturnCode::SuccessMaximumQos2,
        _ => SubackReturnCode::Failure,
    }
}
