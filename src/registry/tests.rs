use std::sync::Arc;

use rstest::rstest;

use super::{
    RegistryEntry, RegistrySettings,
    address::AddressRule,
    challenge::{self, Challenge},
    transport::Transport,
};
use crate::{
    evidence::RegistryError,
    review::ports::{RegistryExchange, RegistryObserver},
};

struct Unobserved;

impl RegistryObserver for Unobserved {
    fn registry_request(&self, _: &RegistryExchange<'_>) {}
}

fn entry(host: &str) -> RegistryEntry {
    serde_json::from_value(serde_json::json!({ "host": host })).unwrap()
}

fn settings(registries: Vec<RegistryEntry>) -> RegistrySettings {
    RegistrySettings { registries, ..Default::default() }
}

fn transport(registries: Vec<RegistryEntry>) -> Transport {
    Transport::new(settings(registries), Arc::new(Unobserved)).unwrap()
}

#[rstest]
#[case::public("93.184.215.14", true)]
#[case::private("10.1.2.3", true)]
#[case::private_6("fd12::1", true)]
#[case::cluster("10.96.0.1", false)]
#[case::cluster_mapped("::ffff:10.96.0.1", false)]
#[case::loopback("127.0.0.1", false)]
#[case::loopback_elsewhere("127.9.9.9", false)]
#[case::loopback_6("::1", false)]
#[case::loopback_mapped("::ffff:127.0.0.1", false)]
#[case::loopback_compatible("::127.0.0.1", false)]
#[case::metadata("169.254.169.254", false)]
#[case::metadata_mapped("::ffff:169.254.169.254", false)]
#[case::metadata_nat64("64:ff9b::a9fe:a9fe", false)]
#[case::metadata_local_nat64("64:ff9b:1::a9fe:a9fe", false)]
#[case::metadata_6to4("2002:a9fe:a9fe::1", false)]
#[case::metadata_6("fd00:ec2::254", false)]
#[case::metadata_elsewhere("100.100.100.200", false)]
#[case::link_local_6("fe80::1", false)]
#[case::nowhere("0.0.0.0", false)]
#[case::this_network("0.1.2.3", false)]
#[case::nowhere_6("::", false)]
#[case::multicast("224.0.0.1", false)]
#[case::multicast_6("ff02::1", false)]
#[case::broadcast("255.255.255.255", false)]
#[case::reserved("240.0.0.1", false)]
fn only_addresses_that_a_registry_may_have_are_asked(#[case] address: &str, #[case] may: bool) {
    let ranges = ["10.96.0.0/12".parse().unwrap()];
    let address = address.parse().unwrap();
    assert_eq!(AddressRule::new(&ranges, false).check(address).is_ok(), may);
    assert_eq!(AddressRule::new(&ranges, true).check(address), Ok(()), "a listed registry may be anywhere");
}

fn bearer(realm: &str, service: &str) -> Challenge {
    Challenge::Bearer { realm: realm.to_owned(), service: service.to_owned() }
}

#[rstest]
#[case(r#"Basic realm="Registry""#, Some(Challenge::Basic))]
#[case("basic", Some(Challenge::Basic))]
#[case(
    r#"Bearer realm="https://a.example.com/t",service="s",scope="repository:x:pull""#,
    Some(bearer("https://a.example.com/t", "s"))
)]
#[case(r#"bearer  Realm = "https://a.example.com/t""#, None)]
#[case("Bearer realm=https://a.example.com/t", Some(bearer("https://a.example.com/t", "")))]
#[case(
    r#"Bearer realm="https://a.example.com/\"t",service="a,b""#,
    Some(bearer("https://a.example.com/\"t", "a,b"))
)]
#[case(
    r#"Basic realm="x", Bearer realm="https://a.example.com/t""#,
    Some(bearer("https://a.example.com/t", ""))
)]
#[case(r#"Bearer service="s""#, None)]
#[case(r#"Bearer realm="""#, None)]
#[case(r#"Bearer realm="unclosed"#, Some(bearer("unclosed", "")))]
#[case("Negotiate", None)]
#[case("", None)]
#[case("= = = ,,, ==", None)]
fn challenges_are_read_as_rfc_9110_writes_them(#[case] header: &str, #[case] wanted: Option<Challenge>) {
    assert_eq!(challenge::parse(header), wanted);
}

#[test]
fn a_challenge_of_any_length_is_refused_unread() {
    let header = format!("Bearer realm=\"https://a.example.com/{}\"", "t".repeat(5000));
    assert_eq!(challenge::parse(&header), None);
}

proptest::proptest! {
    #[test]
    fn no_header_keeps_the_reader_busy_for_ever(header in "\\PC{0,200}") {
        let _ = challenge::parse(&header);
    }
}

#[rstest]
#[case::itself("registry.example.com", "https://registry.example.com/token", true)]
#[case::another_port("registry.example.com", "https://registry.example.com:8443/token", true)]
#[case::parent("registry.example.com", "https://example.com/token", true)]
#[case::child("registry.example.com", "https://auth.registry.example.com/token", true)]
#[case::neighbour("registry.example.com", "https://auth.example.com/token", false)]
#[case::all_of_com("example.com", "https://com/token", false)]
#[case::look_alike("example.com", "https://evilexample.com/token", false)]
#[case::look_alike_below("example.com", "https://example.com.evil.example.net/token", false)]
#[case::elsewhere("registry.example.com", "https://evil.example.net/token", false)]
#[case::user_info("registry.example.com", "https://registry.example.com@evil.example.net/token", false)]
#[case::user_info_of_its_own("registry.example.com", "https://u:p@registry.example.com/token", false)]
#[case::no_tls("registry.example.com", "http://registry.example.com/token", false)]
#[case::another_scheme("registry.example.com", "file:///etc/passwd", false)]
#[case::metadata("registry.example.com", "https://169.254.169.254/latest", false)]
#[case::docker_hub("docker.io", "https://auth.docker.io/token", true)]
#[case::docker_hub_from_elsewhere("registry.example.com", "https://auth.docker.io/token", false)]
#[case::listed("listed.example.com", "https://sso.example.net/token", true)]
#[case::listed_on_another_port("listed.example.com", "https://sso.example.net:444/token", false)]
#[case::listed_for_another("registry.example.com", "https://sso.example.net/token", false)]
#[case::plain("plain.example.com", "http://plain.example.com/token", true)]
#[case::plain_elsewhere("plain.example.com", "http://evil.example.net/token", false)]
fn credentials_go_only_to_token_servers_of_the_registry(
    #[case] host: &str,
    #[case] realm: &str,
    #[case] may: bool,
) {
    let listed =
        RegistryEntry { auth_hosts: vec!["sso.example.net".to_owned()], ..entry("listed.example.com") };
    let plain = RegistryEntry { plain_http: true, ..entry("plain.example.com") };
    let endpoint = transport(vec![listed, plain]).endpoint(host).unwrap();
    match endpoint.realm(realm) {
        Ok(url) => assert!(may, "{url}"),
        Err(error) => assert!(!may && matches!(error, RegistryError::Forbidden(_)), "{error}"),
    }
}

#[rstest]
#[case::scheme(RegistryEntry { host: "https://registry.example.com".to_owned(), ..entry("x.example.com") }, "registries[0].host")]
#[case::path(entry("registry.example.com/team"), "registries[0].host")]
#[case::upper_case(entry("Registry.example.com"), "registries[0].host")]
#[case::empty(entry(""), "registries[0].host")]
#[case::none_at_once(RegistryEntry { max_concurrent_requests: 0, ..entry("a.example.com") }, "registries[0].maxConcurrentRequests")]
#[case::mirror(RegistryEntry { mirrors: vec!["http://m".to_owned()], ..entry("a.example.com") }, "registries[0].mirrors[0]")]
#[case::auth_host(RegistryEntry { auth_hosts: vec!["*.example.com".to_owned()], ..entry("a.example.com") }, "registries[0].authHosts[0]")]
#[case::ca(RegistryEntry { ca: Some("/nowhere/ca.pem".into()), ..entry("a.example.com") }, "registries[0].ca")]
fn a_setting_that_cannot_work_is_named(#[case] entry: RegistryEntry, #[case] path: &str) {
    let Err(error) = Transport::new(settings(vec![entry]), Arc::new(Unobserved)) else {
        panic!("it was taken")
    };
    assert_eq!(error.path, path);
}

#[test]
fn one_registry_is_not_configured_twice() {
    let twice = settings(vec![entry("a.example.com"), entry("a.example.com")]);
    assert_eq!(twice.check().unwrap_err().path, "registries[1].host");
}

#[test]
fn docker_hub_is_asked_where_its_registry_is() {
    let endpoint = transport(Vec::new()).endpoint("docker.io").unwrap();
    assert_eq!(
        endpoint.url("library/nginx/manifests/1").as_str(),
        "https://registry-1.docker.io/v2/library/nginx/manifests/1"
    );
}
