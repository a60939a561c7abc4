//! Why something was answered as it was, or a connection ended: MQTT 5's reason codes, as far as they are used.

/// A reason code. 3.1.1 has some of them at CONNACK, and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Reason {
    /// It is done.
    Success = 0x00,
    /// Granted at quality of service 1. (Granted at 0 is [`Success`](Self::Success).)
    GrantedQos1 = 0x01,
    /// Granted at quality of service 2.
    GrantedQos2 = 0x02,
    /// It is done, but nobody waited for it.
    NobodyListens = 0x10,
    /// There was no such subscription.
    NotSubscribed = 0x11,
    /// Something else is wrong.
    Unspecified = 0x80,
    /// A packet is not as the protocol writes it.
    Malformed = 0x81,
    /// A packet came where the protocol has no place for it.
    Protocol = 0x82,
    /// The packet is right, but is not taken.
    Implementation = 0x83,
    /// Another version of the protocol.
    Version = 0x84,
    /// The client id, or the device's name, is none.
    ClientId = 0x85,
    /// The credentials are wrong.
    Credentials = 0x86,
    /// It may not do this.
    NotAuthorized = 0x87,
    /// The server cannot serve now.
    Unavailable = 0x88,
    /// The server has too much to do.
    Busy = 0x89,
    /// The server stops.
    ShuttingDown = 0x8B,
    /// No such authentication method.
    AuthenticationMethod = 0x8C,
    /// Nothing was heard for one and a half times the keep-alive.
    KeepAlive = 0x8D,
    /// The same client connected again.
    TakenOver = 0x8E,
    /// The filter selects nothing that there is.
    TopicFilter = 0x8F,
    /// The topic means nothing.
    TopicName = 0x90,
    /// Nothing is known of this packet id.
    PacketIdentifier = 0x92,
    /// More in flight than was granted.
    ReceiveMaximum = 0x93,
    /// The alias is none.
    TopicAlias = 0x94,
    /// The packet is larger than was granted.
    PacketTooLarge = 0x95,
    /// A limit of the twin or of the connection is reached.
    Quota = 0x97,
    /// An operator did it.
    Administrative = 0x98,
    /// The payload is not what it is said to be.
    PayloadFormat = 0x99,
    /// Shared subscriptions are for applications.
    SharedSubscriptions = 0x9E,
    /// It connects more often than it may.
    ConnectionRate = 0x9F,
}

impl Reason {
    /// Whether it is a refusal.
    pub(crate) const fn is_failure(self) -> bool {
        self as u8 >= 0x80
    }

    /// As the twin's history names the end of a connection.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Success
            | Self::GrantedQos1
            | Self::GrantedQos2
            | Self::NobodyListens
            | Self::NotSubscribed => "closed",
            Self::Unspecified | Self::Implementation => "internal error",
            Self::Malformed
            | Self::Protocol
            | Self::PacketIdentifier
            | Self::ReceiveMaximum
            | Self::TopicAlias => "protocol error",
            Self::PacketTooLarge => "packet too large",
            Self::Version | Self::SharedSubscriptions => "not supported",
            Self::ClientId | Self::Credentials | Self::AuthenticationMethod => "not authenticated",
            Self::NotAuthorized => "not authorized",
            Self::Unavailable | Self::Busy => "server busy",
            Self::ShuttingDown => "server shutting down",
            Self::KeepAlive => "keep-alive expired",
            Self::TakenOver => "taken over",
            Self::TopicFilter | Self::TopicName => "topic invalid",
            Self::Quota | Self::ConnectionRate => "quota exceeded",
            Self::Administrative => "removed",
            Self::PayloadFormat => "payload invalid",
        }
    }
}
