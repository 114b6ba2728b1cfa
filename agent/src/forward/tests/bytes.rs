//! The bytes on the wire, as the API's reference has them.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// One request as it came: the lines of its head, and its body.
async fn request(stream: &mut TcpStream) -> (Vec<String>, Vec<u8>) {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let end = read.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(read[..end].to_vec()).expect("a head is text");
            let lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
            let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            let length: usize = length.parse().expect("a number");
            if read.len() >= end + 4 + length {
                assert_eq!(read.len(), end + 4 + length, "no byte follows before the answer");
                return (lines, read.split_off(end + 4));
            }
        }
        let count = tokio::time::timeout(BOUND, stream.read(&mut buffer)).await.expect("in time").expect("bytes");
        assert!(count > 0, "closed in the middle of {:?}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..count]);
    }
}

#[tokio::test]
async fn the_api_kind_writes_what_the_reference_says_and_nothing_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let address = listener.local_addr().expect("a bound socket has an address");
    let bench = Bench::start(quick(Flux::Api {
        base: format!("http://{address}"),
        app_id: "app".into(),
        channel_id: "channel".into(),
        auth_key_id: Secret::new("keyId-a"),
        auth_key: Secret::new("secret-b"),
        token_timeout: Duration::from_secs(86_400),
    }));
    bench.publish(1, numbers(0..2));
    let (mut stream, _) = tokio::time::timeout(BOUND, listener.accept()).await.expect("in time").expect("a connection");

    let user_agent = concat!("user-agent: tidegate/", env!("CARGO_PKG_VERSION")).to_owned();
    let host = format!("host: {address}");
    let json = "content-type: application/json".to_owned();
    let (mut head, body) = request(&mut stream).await;
    let asked: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let wanted = serde_json::json!({"authKeyId": "keyId-a", "authKey": "secret-b", "tokenTimeoutSeconds": 86_400});
    assert_eq!(asked, wanted, "these keys and no other");
    assert_eq!(head.remove(0), "POST /v1/auth HTTP/1.1");
    head.sort();
    assert_eq!(head, [&*format!("content-length: {}", body.len()), &json, &host, &user_agent]);
    let granted = r#"{"apiKey":"api-key-c","operatorId":"OP0012345678","token":"token-d"}"#;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{granted}", granted.len());
    stream.write_all(answer.as_bytes()).await.expect("written");

    let (mut head, body) = request(&mut stream).await;
    assert_eq!(head.remove(0), "POST /v1/flux/apps/app/channels/channel/messages HTTP/1.1");
    head.sort();
    let epoch = format!("x-tidegate-epoch: {}", bench.store.stats().epoch);
    assert_eq!(
        head,
        [
            &*format!("content-length: {}", body.len()),
            &json,
            &host,
            &user_agent,
            "x-soracom-api-key: api-key-c",
            "x-soracom-token: token-d",
            &epoch,
            "x-tidegate-events: 2",
            "x-tidegate-gateway: gw-1",
            "x-tidegate-lane: normal",
            "x-tidegate-seq: 0-1",
        ]
    );
    let events: Vec<serde_json::Value> = serde_json::from_slice(&body).expect("an array of events");
    assert_eq!(events.iter().map(|event| event["payload"]["n"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(1)]);
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("written");
    bench.until_forwarded(2).await;
    assert_eq!(bench.stop().await, 0);
}
