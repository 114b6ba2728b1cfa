use super::*;
use crate::collect::listener::ListenError;
use crate::store::IN_FLIGHT_BYTES;

fn deps(gate: &Gate) -> Deps {
    Deps {
        store: gate.store.clone(),
        clock: Arc::new(crate::clock::SystemClock::new()),
        rules: gate.rules.subscribe(),
        kept: Vec::new(),
        next_session_id: 1,
        stats: Arc::default(),
        alarms: gate.alarms.clone(),
    }
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_says_what_to_do() {
    let gate = Gate::open();
    let taken = Options { plain: Some(gate.addr), ..Options::default() };
    let error = Listener::bind(taken, deps(&gate)).expect_err("taken");
    assert!(matches!(error, ListenError::Taken { address, .. } if address == gate.addr));
    assert!(error.to_string().contains("another program has this port"), "{error}");
}

#[tokio::test]
async fn options_that_cannot_work_are_refused_by_name() {
    let gate = Gate::open();
    let error = Listener::bind(Options::default(), deps(&gate)).expect_err("no address");
    assert!(matches!(error, ListenError::NoAddress));
    let error = Listener::bind(Options { receive_maximum: 0, ..options() }, deps(&gate)).expect_err("zero");
    assert_eq!(error.to_string(), "receive_maximum is 0; write a number from 1 to 65535");
    let elsewhere = Options { plain: Some(([203, 0, 113, 7], 0).into()), ..Options::default() };
    assert!(matches!(Listener::bind(elsewhere, deps(&gate)), Err(ListenError::Bind { .. })));
}

#[tokio::test]
async fn mqtt_5_is_told_the_limits() {
    let gate = Gate::with(Options { receive_maximum: 300, max_packet_size: 65_536, ..options() }, Vec::new());
    let mut client = gate.raw().await;
    client.send(&connect(5, "c", 2, 0, &[])).await;
    let limits = [0x21, 1, 44, 0x27, 0, 1, 0, 0, 0x22, 0, 16, 0x28, 0, 0x29, 0, 0x2a, 0];
    client.expect(&packet(0x20, &[&[0, 0, limits.len() as u8], &limits])).await;
}

#[tokio::test]
async fn a_packet_that_is_too_large_ends_mqtt_5_and_is_read_past_in_3_1_1() {
    let gate = Gate::with(Options { max_packet_size: 2_000, ..options() }, Vec::new());
    let mut v5 = gate.v5("c5").await;
    v5.send(&publish(5, 1, 1, "d/a", &vec![0; 5_000])).await;
    assert_eq!(v5.rest().await, [0xe0, 1, 0x95]);
    let mut v3 = gate.v3("c3").await;
    let large = [publish(4, 1, 1, "d/a", &vec![0; 300_000]), publish(4, 2, 2, "d/a", &vec![0; 2_000])].concat();
    v3.send(&[large, publish(4, 0, 0, "d/a", &vec![0; 50_000]), publish(4, 1, 3, "d/a", b"fits")].concat()).await;
    v3.expect(&[0x40, 2, 0, 1, 0x50, 2, 0, 2, 0x40, 2, 0, 3]).await;
    gate.until("counted", |stats| stats.refused_size.get() == 4).await;
    assert_eq!(gate.store.stats().refused, 4, "durably");
    assert_eq!(gate.payloads(), [b"fits".to_vec()]);
}

#[tokio::test]
async fn more_publishes_under_way_than_receive_maximum_end_the_connection() {
    let gate = Gate::with(Options { receive_maximum: 3, ..options() }, Vec::new());
    let mut client = gate.v5("c").await;
    // QoS 2 stays under way until its release.
    for id in 1..=3_u8 {
        client.send(&publish(5, 2, u16::from(id), "d/a", b"x")).await;
        client.expect(&[0x50, 2, 0, id]).await;
    }
    client.send(&[0x62, 2, 0, 1]).await;
    client.expect(&[0x70, 2, 0, 1]).await;
    client.send(&publish(5, 1, 4, "d/a", b"x")).await;
    client.expect(&[0x40, 2, 0, 4]).await;
    client.send(&[publish(5, 2, 5, "d/a", b"x"), publish(5, 1, 6, "d/a", b"x")].concat()).await;
    let rest = client.rest().await;
    assert!(rest.ends_with(&[0xe0, 1, 0x93]), "{rest:?}");
}

#[tokio::test]
async fn who_is_silent_for_one_and_a_half_keep_alives_is_disconnected() {
    let gate = Gate::open();
    let mut client = gate.raw().await;
    client.send(&connect(5, "c", 2, 1, &[])).await;
    client.packet().await;
    let begun = std::time::Instant::now();
    assert_eq!(client.rest().await, [0xe0, 1, 0x8d]);
    assert!((Duration::from_millis(1_400)..Duration::from_secs(4)).contains(&begun.elapsed()));
    assert_eq!(gate.stats.timeouts.get(), 1);
}

#[tokio::test]
async fn who_does_not_say_connect_in_time_is_disconnected() {
    let gate = Gate::with(Options { connect_timeout: Duration::from_millis(100), ..options() }, Vec::new());
    let mut silent = gate.raw().await;
    let mut slow = gate.raw().await;
    slow.send(&connect(4, "c", 2, 0, &[])[..9]).await;
    assert_eq!(silent.rest().await, [0; 0]);
    assert_eq!(slow.rest().await, [0; 0]);
    assert_eq!(gate.stats.timeouts.get(), 2);
}

#[tokio::test]
async fn who_does_not_read_is_disconnected_and_others_are_served() {
    let gate = Gate::with(Options { write_timeout: Duration::from_millis(300), ..options() }, Vec::new());
    let mut deaf = gate.v3("deaf").await;
    let pings = [0xc0, 0].repeat(16 * 1024);
    // Until neither side's socket takes any more.
    let stuffing = async { while deaf.stream.write_all(&pings).await.is_ok() {} };
    let mut other = gate.v3("other").await;
    tokio::select! {
        () = stuffing => {}
        () = gate.until("noticed", |stats| stats.not_reading.get() == 1) => {}
    }
    other.send(&publish(4, 1, 1, "d/a", b"x")).await;
    other.expect(&[0x40, 2, 0, 1]).await;
}

#[tokio::test]
async fn while_the_store_takes_no_more_nothing_is_read_and_nobody_is_silent() {
    let gate = Gate::open();
    let mut client = gate.raw().await;
    client.send(&connect(5, "c", 2, 1, &[])).await;
    client.packet().await;
    // What a full disk comes to: all that may be under way is under way.
    let all = gate.store.in_flight().clone().acquire_many_owned(IN_FLIGHT_BYTES as u32).await.expect("open");
    client.send(&publish(5, 1, 1, "d/a", b"held back")).await;
    let mut byte = [0];
    let waited = timeout(Duration::from_secs(3), client.stream.read(&mut byte)).await;
    assert!(waited.is_err(), "neither acknowledged nor disconnected, for twice the keep-alive");
    assert_eq!(gate.payloads().len(), 0);
    drop(all);
    client.expect(&[0x40, 2, 0, 1]).await;
    assert_eq!(gate.payloads(), [b"held back".to_vec()]);
}

#[tokio::test]
async fn connections_that_end_while_the_store_takes_no_more_do_not_block_those_that_follow() {
    // More than there are reads that fit into what may be under way.
    const CLIENTS: u16 = 100;
    let gate = Gate::open();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = gate.raw().await;
        let will = [text("d/gone"), text("lost")].concat();
        client.send(&connect_with(4, &format!("c{number}"), 0x06, 0, &[], &will)).await;
        client.expect(&[0x20, 2, 0, 0]).await;
        clients.push(client);
    }
    let all = gate.store.in_flight().clone().acquire_many_owned(IN_FLIGHT_BYTES as u32).await.expect("open");
    for client in &mut clients {
        client.send(&publish(4, 1, 1, "d/a", b"x")).await;
    }
    let mut successors = Vec::new();
    for number in 0..CLIENTS {
        let mut client = gate.raw().await;
        client.send(&connect(4, &format!("c{number}"), 2, 0, &[])).await;
        successors.push(client);
    }
    gate.until("all are told", |stats| stats.taken_over.get() == u64::from(CLIENTS)).await;
    drop(all);
    for client in &mut successors {
        client.expect(&[0x20, 2, 0, 0]).await;
    }
    assert_eq!(gate.stats.wills.get(), u64::from(CLIENTS));
}

#[tokio::test]
async fn long_packets_take_turns_when_there_is_no_room_for_all() {
    let gate = Gate::with(Options { max_packet_size: 1024 * 1024, ..options() }, Vec::new());
    let payload = vec![7; 900_000];
    let mut clients = Vec::new();
    for index in 0..12 {
        let mut client = gate.v3(&format!("c{index}")).await;
        let payload = payload.clone();
        clients.push(tokio::spawn(async move {
            let packet = publish(4, 1, 1, "d/a", &payload);
            for part in packet.chunks(100_000) {
                client.send(part).await;
                tokio::task::yield_now().await;
            }
            client.expect(&[0x40, 2, 0, 1]).await;
        }));
    }
    for client in clients {
        client.await.expect("acknowledged");
    }
    assert_eq!(gate.payloads().len(), 12);
}

#[tokio::test]
async fn beyond_max_connections_others_are_refused_and_those_inside_served() {
    const MAX: usize = 1_200;
    let gate = Gate::with(Options { max_connections: MAX, ..options() }, Vec::new());
    let mut clients = Vec::new();
    for index in 0..MAX {
        clients.push(gate.v3(&format!("c{index}")).await);
    }
    for _ in 0..20 {
        let mut late = gate.raw().await;
        assert_eq!(late.rest().await, [0; 0]);
    }
    assert_eq!(gate.stats.connections_refused.get(), 20);
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(&publish(4, 1, 1, "d/a", format!("{index}").as_bytes())).await;
    }
    for client in &mut clients {
        client.expect(&[0x40, 2, 0, 1]).await;
    }
    assert_eq!((gate.payloads().len(), gate.stats.connections.get()), (MAX, MAX as u64));
    clients.truncate(MAX / 2);
    gate.until("room again", |stats| stats.connections.get() <= MAX as u64 / 2).await;
    gate.v3("after").await;
}

#[test]
fn only_what_lies_with_this_machine_pauses_accepting() {
    let error = |errno: rustix::io::Errno| std::io::Error::from_raw_os_error(errno.raw_os_error());
    for errno in [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE, rustix::io::Errno::NOBUFS] {
        assert!(super::super::lasting(&error(errno)), "{errno}");
    }
    assert!(!super::super::lasting(&error(rustix::io::Errno::CONNABORTED)));
}
