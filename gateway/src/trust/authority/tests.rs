//! Who is believed for which certificate, and what an authority says in those that it signs.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType, date_time_ymd,
};
use runtime::directory::{Authority, By, Change, Directory, Entry, Group, Template, Trust};
use rustls::pki_types::CertificateDer;
use twins::id::TwinId;
use twins::json::Document;
use twins::name::Name;

use super::*;
use crate::trust::vault::Vault;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

fn vault() -> Vault {
    Vault::new([7; 32])
}

fn twin(id: &str) -> TwinId {
    TwinId::parse(id).unwrap()
}

fn ours(tenant: &str, name: &str) -> Authority {
    found(&vault(), tenant, name, NOW).unwrap()
}

fn sign(authority: &Authority, tenant: &str, name: &str, device: &str) -> Signed {
    let signer = Signer::open(&vault(), tenant, name, authority).unwrap();
    let request = Request::parse(&generate("whoever").unwrap().1).unwrap();
    signer.sign(&request, &twin(device), NOW, YEAR).unwrap()
}

/// An authority of an operator's, with a certificate that it signed for a device; the parameters may be changed before.
struct Operator {
    issuer: Issuer<'static, KeyPair>,
    root: Bytes,
}

impl Operator {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = Bytes::copy_from_slice(params.self_signed(&key).unwrap().der());
        Self { issuer: Issuer::new(params, key), root }
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Bytes {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "pump-1");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let signed = params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap();
        Bytes::copy_from_slice(signed.der())
    }
}

fn name(name: &str) -> Name {
    Name::new("a name", name).unwrap()
}

/// A directory with these authorities of ours in the default tenant, and these groups in these tenants.
fn directory(authorities: &[(&str, &Authority)], groups: &[(&str, &str, &Bytes)]) -> Directory {
    let mut directory = Directory::default();
    let mut apply = |tenant: &str, change| {
        let entry = Entry { at: NOW, by: By::Folder, reason: None, tenant: tenant.to_owned(), change };
        directory.apply(&entry).map(drop)
    };
    for (called, authority) in authorities {
        let authority = Authority::clone(authority);
        apply("default", Change::PutAuthority { name: name(called), authority }).unwrap();
    }
    for (tenant, called, root) in groups {
        if *tenant != "default" {
            let (admin, digest, expires) = (name("boss"), Fingerprint([7; 32]), NOW + YEAR);
            let token = runtime::directory::TokenId(7);
            // It may be there already.
            drop(apply(tenant, Change::AddTenant { admin, token, digest, expires }));
        }
        let none = || Document::parse(b"{}", &Default::default()).unwrap();
        let template = Template { kind: name("device"), tags: none(), desired: none() };
        let trust = Trust::Authority { certificates: vec![Bytes::clone(root)] };
        let group = Group { template, trust, registers: true, disabled: false, barred: None };
        apply(tenant, Change::PutGroup { name: name(called), group }).unwrap();
    }
    directory
}

fn believed(anchors: &Anchors, der: &[u8], now: Timestamp) -> Result<(), Unbelieved> {
    anchors.believe(Chain { first: &CertificateDer::from(der), others: &[] }, now)
}

#[test]
fn what_we_sign_names_its_device_in_its_tenant_for_clients_alone() {
    let authority = ours("a:b", "devices");
    let signer = Signer::open(&vault(), "a:b", "devices", &authority).unwrap();
    let request = Request::parse(&generate("somebody-else").unwrap().1).unwrap();
    let signed = signer.sign(&request, &twin("a:b/pump:1"), NOW, YEAR).unwrap();

    let leaf = Leaf::read(&CertificateDer::from(&signed.certificate[..])).unwrap();

    assert_eq!(leaf.tenant(), Some("a:b"));
    assert_eq!((leaf.device("a:b"), leaf.device("a")), (Some(twin("a:b/pump:1")), None));
    assert_eq!((leaf.until, signed.expires), (NOW + YEAR, NOW + YEAR));
    let certificate = parse(&signed.certificate).unwrap();
    assert!(!certificate.is_ca() && certificate.raw_serial().len() >= 15, "{:?}", certificate.raw_serial());
    assert_eq!(certificate.subject().iter_common_name().next().unwrap().as_str(), Ok("pump:1"));
    let long = format!("a:b/{}", "x".repeat(128));
    let signed = signer.sign(&request, &twin(&long), NOW, YEAR).unwrap();
    let leaf = Leaf::read(&CertificateDer::from(&signed.certificate[..])).unwrap();
    assert_eq!(leaf.device("a:b"), Some(twin(&long)), "also where it is too long for a common name");
}

#[test]
fn a_certificate_ends_with_its_authority_at_the_latest() {
    let authority = ours("default", "devices");
    let signer = Signer::open(&vault(), "default", "devices", &authority).unwrap();
    let request = Request::parse(&generate("pump-1").unwrap().1).unwrap();
    let end = parse(&authority.certificates[0]).map(|own| moment(own.validity().not_after)).unwrap();

    let last = signer.sign(&request, &twin("default/pump-1"), end - Duration::from_secs(60), YEAR).unwrap();

    assert_eq!(last.expires, end);
    assert!(matches!(signer.sign(&request, &twin("default/pump-1"), end, YEAR), Err(Error::Over(_))));
    assert!(Signer::open(&vault(), "acme", "devices", &authority).is_err(), "its key is of its tenant");
}

#[test]
fn those_are_believed_whom_the_directory_has_and_only_while_they_are_valid() {
    let (known, removed, operator) =
        (ours("default", "devices"), ours("default", "devices"), Operator::new("operator"));
    let anchors = Anchors::of(&directory(&[("devices", &known)], &[("default", "pumps", &operator.root)]));
    let own = sign(&known, "default", "devices", "default/pump-1").certificate;

    assert_eq!(believed(&anchors, &own, NOW), Ok(()));
    assert_eq!(believed(&anchors, &own, NOW + YEAR + YEAR), Err(Unbelieved::NotNow));
    assert_eq!(believed(&anchors, &own, NOW - YEAR), Err(Unbelieved::NotNow));
    let foreign = sign(&removed, "default", "devices", "default/pump-1").certificate;
    assert_eq!(believed(&anchors, &foreign, NOW), Err(Unbelieved::Unknown), "of the same name");
    assert_eq!(believed(&anchors, &operator.sign(|_| ()), NOW), Ok(()));
    assert_eq!(believed(&anchors, &operator.root, NOW), Err(Unbelieved::NoDevice));
    let server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    assert_eq!(believed(&anchors, &operator.sign(server), NOW), Err(Unbelieved::NoDevice));
    let any = |params: &mut CertificateParams| params.extended_key_usages.clear();
    assert_eq!(believed(&anchors, &operator.sign(any), NOW), Err(Unbelieved::NoDevice));
    let over = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    assert_eq!(believed(&anchors, &operator.sign(over), NOW), Err(Unbelieved::NotNow));
    let many = vec![CertificateDer::from(&own[..]); CHAIN_MAX];
    let chain = Chain { first: &CertificateDer::from(&own[..]), others: &many };
    assert_eq!(anchors.believe(chain, NOW), Err(Unbelieved::TooLong));
}

#[test]
fn a_groups_authority_signs_for_that_group_and_its_tenant_alone() {
    let [pumps, valves, acme] = [(); 3].map(|()| Operator::new("operator"));
    let groups =
        [("default", "pumps", &pumps.root), ("default", "valves", &valves.root), ("acme", "own", &acme.root)];
    let anchors = Anchors::of(&directory(&[], &groups));
    let signed = pumps.sign(|_| ());
    let chain = Chain { first: &CertificateDer::from(&signed[..]), others: &[] };

    assert!(anchors.is_of_group("default", &name("pumps"), chain, NOW));
    assert!(!anchors.is_of_group("default", &name("valves"), chain, NOW));
    assert!(!anchors.is_of_group("acme", &name("pumps"), chain, NOW));
    assert_eq!(anchors.tenant_of(chain, NOW), Some("default"));
    let signed = acme.sign(|_| ());
    let chain = Chain { first: &CertificateDer::from(&signed[..]), others: &[] };
    assert_eq!(anchors.tenant_of(chain, NOW), Some("acme"));
    let foreign = acme.sign(|params| {
        let other = "urn:twinfold:default:pump-1".to_owned();
        params.subject_alt_names = vec![SanType::URI(other.try_into().unwrap())];
    });
    assert_eq!(believed(&anchors, &foreign, NOW), Err(Unbelieved::Unknown), "a device of another tenant");
}

/// webpki gives up after a hundred signatures that do not fit: those of another tenant must not be among them.
#[test]
fn no_tenant_makes_another_ones_devices_unbelieved() {
    let (authority, operator) = (ours("default", "devices"), Operator::new("operator"));
    let mut world = directory(&[("devices", &authority)], &[("default", "pumps", &operator.root)]);
    let imitation = |n| (format!("group-{n}"), Operator::new("operator").root);
    let imitations: Vec<_> = (100..204).map(imitation).collect();
    let groups: Vec<_> = imitations.iter().map(|(name, root)| ("aaa", &**name, root)).collect();
    world.tenants.insert("aaa".into(), directory(&[], &groups).tenants["aaa"].clone());
    let anchors = Anchors::of(&world);

    assert_eq!(believed(&anchors, &operator.sign(|_| ()), NOW), Ok(()));
    let own = sign(&authority, "default", "devices", "default/pump-1").certificate;
    assert_eq!(believed(&anchors, &own, NOW), Ok(()));
}

#[test]
fn a_chain_is_followed_over_those_who_may_sign() {
    let operator = Operator::new("operator");
    let anchors = Anchors::of(&directory(&[], &[("default", "pumps", &operator.root)]));
    let below = |is_ca, until| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "factory");
        params.is_ca = is_ca;
        params.not_after = until;
        let signed = Bytes::copy_from_slice(params.signed_by(&key, &operator.issuer).unwrap().der());
        Operator { issuer: Issuer::new(params, key), root: signed }
    };
    let check = |factory: &Operator, others: usize| {
        let leaf = factory.sign(|_| ());
        let others = vec![CertificateDer::from(&factory.root[..]); others];
        anchors.believe(Chain { first: &CertificateDer::from(&leaf[..]), others: &others }, NOW)
    };
    let ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let (far, past) = (date_time_ymd(2100, 1, 1), date_time_ymd(2020, 1, 1));

    assert_eq!(check(&below(ca, far), 1), Ok(()));
    assert_eq!(check(&below(ca, far), 0), Err(Unbelieved::Unknown), "nothing leads to the root");
    assert_eq!(check(&below(ca, far), CHAIN_MAX), Err(Unbelieved::TooLong));
    assert!(check(&below(ca, past), 1).is_err(), "it has expired");
    assert!(check(&below(IsCa::NoCa, far), 1).is_err(), "a device signs for nobody");
}

#[test]
fn a_certificate_that_says_two_things_says_nothing() {
    let operator = Operator::new("operator");
    let named = |names: &[&str]| {
        let signed = operator.sign(|params| {
            let uri = |name: &&str| SanType::URI((*name).to_owned().try_into().unwrap());
            params.subject_alt_names = names.iter().map(uri).collect();
        });
        Leaf::read(&CertificateDer::from(&signed[..])).and_then(|leaf| leaf.device("default"))
    };

    assert_eq!(named(&[]), Some(twin("default/pump-1")));
    assert_eq!(named(&["https://example.org/pump-7"]), Some(twin("default/pump-1")));
    assert_eq!(named(&["urn:twinfold:default:pump-2"]), Some(twin("default/pump-2")));
    assert_eq!(named(&["URN:Twinfold:default:pump-2"]), Some(twin("default/pump-2")));
    assert_eq!(named(&["urn:twinfold:acme:pump-2"]), None, "it is of another tenant");
    assert_eq!(named(&["urn:twinfold:default:pump-2", "urn:twinfold:default:pump-3"]), None);
    for malformed in
        ["urn:twinfold:", "urn:twinfold:default", "urn:twinfold:default:", "urn:twinfold:default:me"]
    {
        assert_eq!(named(&[malformed]), None, "{malformed}");
    }
}

#[test]
fn who_is_believed_has_a_mark_that_tells_it_from_others() {
    let (first, second) = (ours("default", "first"), ours("default", "second"));
    let [none, one, both] = [&[][..], &[("first", &first)], &[("first", &first), ("second", &second)]]
        .map(|authorities| Anchors::of(&directory(authorities, &[])));

    assert!(none.is_empty() && !one.is_empty());
    assert!(none.mark() != one.mark() && one.mark() != both.mark());
    let again = Anchors::of(&directory(&[("first", &first)], &[]));
    assert_eq!(again.mark(), one.mark());
}

#[test]
fn an_authority_takes_the_certificates_of_its_own_key_and_what_it_signed_goes_on() {
    let (authority, root) = (ours("default", "devices"), Operator::new("root"));
    let before = sign(&authority, "default", "devices", "default/pump-1").certificate;
    let signer = Signer::open(&vault(), "default", "devices", &authority).unwrap();
    let csr = rcgen::CertificateSigningRequestParams::from_pem(&signer.request(&authority).unwrap()).unwrap();
    let signed = csr.signed_by(&root.issuer).unwrap();

    let brought = import(&authority, &(signed.pem() + &pem(&root.root)), NOW).unwrap();

    assert_eq!(brought.certificates, [Bytes::copy_from_slice(signed.der()), root.root.clone()]);
    let anchors = Anchors::of(&directory(&[("devices", &brought)], &[]));
    assert_eq!(believed(&anchors, &before, NOW), Ok(()));
    let after = sign(&brought, "default", "devices", "default/pump-2").certificate;
    assert_eq!(believed(&anchors, &after, NOW), Ok(()));
    let other = Operator::new("root");
    for (foreign, why) in [
        (pem(&root.root), "another key"),
        (signed.pem() + &pem(&other.root), "signed by the next"),
        (String::new(), "no chain"),
        (signed.pem() + &pem(&root.sign(|_| ())), "may not sign"),
    ] {
        let refused = import(&authority, &foreign, NOW).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

proptest! {
    /// What a client shows is read before anybody has verified it.
    #[test]
    fn no_bytes_that_a_client_shows_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_048)) {
        let anchors = Anchors::of(&Directory::default());
        prop_assert!(Leaf::read(&CertificateDer::from(&bytes[..])).is_none());
        prop_assert_eq!(describe(&bytes), None);
        prop_assert_eq!(believed(&anchors, &bytes, NOW), Err(Unbelieved::NoDevice));
        prop_assert!(read_roots(&pem(&bytes), &Directory::default(), NOW).is_err());
    }

    /// Those of a real certificate with some changed go far, and are believed only where nothing is.
    #[test]
    fn no_change_of_a_certificate_is_believed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        static REAL: LazyLock<(Directory, Bytes)> = LazyLock::new(|| {
            let authority = ours("default", "devices");
            let signed = sign(&authority, "default", "devices", "default/pump-1").certificate;
            (directory(&[("devices", &authority)], &[]), signed)
        });
        let (directory, real) = &*REAL;
        let mut changed = real.to_vec();
        for (place, byte) in &changes {
            *place.get_mut(&mut changed) = *byte;
        }

        let is_believed = believed(&Anchors::of(directory), &changed, NOW).is_ok();

        prop_assert_eq!(is_believed, changed == *real);
    }
}
