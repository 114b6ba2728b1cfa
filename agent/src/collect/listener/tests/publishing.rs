use rumqttc::{AsyncClient, Event, MqttOptions, Outgoing, Packet, QoS};

use super::*;
use crate::collect::Subject;

#[tokio::test]
async fn every_quality_of_service_is_stored_and_answered_as_the_specification_says() {
    let gate = Gate::open();
    let mut client = gate.v3("c").await;
    client.send(&publish(4, 0, 0, "d/a", b"zero")).await;
    client.send(&publish(4, 1, 7, "d/a", b"one")).await;
    client.expect(&[0x40, 2, 0, 7]).await;
    client.send(&publish(4, 2, 8, "d/b", b"two")).await;
    client.expect(&[0x50, 2, 0, 8]).await;
    client.send(&[0x62, 2, 0, 8]).await;
    client.expect(&[0x70, 2, 0, 8]).await;
    let record = |device: &str, payload: &str| (device.to_owned(), format!("d/{device}"), payload.as_bytes().to_vec());
    assert_eq!(gate.stored_in(NORMAL), [record("a", "zero"), record("a", "one"), record("b", "two")]);
    assert_eq!((gate.stats.collected.get(), gate.stats.collected_bytes.get()), (3, 10));
}

#[tokio::test]
async fn acknowledgements_leave_in_the_order_received_over_all_kinds() {
    let gate = Gate::open();
    for version in [4, 5] {
        let mut client = if version == 4 { gate.v3("c3").await } else { gate.v5("c5").await };
        let mut sent = Vec::new();
        let mut expected = Vec::new();
        for id in 1..=60_u16 {
            let [high, low] = id.to_be_bytes();
            match id % 5 {
                0 => {
                    sent.extend(publish(version, 2, id, "d/a", b"x"));
                    expected.extend([0x50, 2, high, low]);
                }
                1 if id > 5 => {
                    let [high, low] = (id - 1).to_be_bytes();
                    sent.extend([0x62, 2, high, low]);
                    expected.extend([0x70, 2, high, low]);
                }
                2 => {
                    sent.extend(subscribe(version, id, &["else/where"]));
                    expected.extend(if version == 4 {
                        vec![0x90, 3, high, low, 0x80]
                    } else {
                        vec![0x90, 4, high, low, 0, 0x87]
                    });
                }
                _ => {
                    sent.extend(publish(version, 1, id, "d/a", b"y"));
                    expected.extend([0x40, 2, high, low]);
                }
            }
        }
        client.send(&sent).await;
        client.expect(&expected).await;
    }
}

#[tokio::test]
async fn a_packet_that_arrives_byte_by_byte_is_one_packet() {
    let gate = Gate::open();
    let mut client = gate.v5("c").await;
    for byte in [publish(5, 1, 1, "d/a", &[9; 300]), publish(5, 1, 2, "d/a", b"next")].concat() {
        client.send(&[byte]).await;
    }
    client.expect(&[0x40, 2, 0, 1, 0x40, 2, 0, 2]).await;
    assert_eq!(gate.payloads(), [vec![9; 300], b"next".to_vec()]);
}

#[tokio::test]
async fn packets_of_all_sizes_come_out_as_they_went_in() {
    let gate = Gate::open();
    let mut client = gate.v3("c").await;
    let sizes =
        [0_usize, 1, 100, 127, 128, 4_000, 4_096, 5_000, 16_384, 32_768, 40_000, 100_000, 262_000, 3, 90_000, 2];
    let payloads: Vec<Vec<u8>> = sizes.iter().map(|size| (0..*size).map(|byte| (byte % 251) as u8).collect()).collect();
    let (mut reader, mut writer) = client.stream.split();
    let sending = async {
        for (index, payload) in payloads.iter().enumerate() {
            writer.write_all(&publish(4, 1, index as u16 + 1, "d/a", payload)).await.expect("sent");
        }
    };
    let reading = async {
        for id in 1..=payloads.len() as u16 {
            let mut ack = [0; 4];
            reader.read_exact(&mut ack).await.expect("acknowledged");
            assert_eq!(ack, [0x40, 2, id.to_be_bytes()[0], id.to_be_bytes()[1]]);
        }
    };
    timeout(PATIENCE, async { tokio::join!(sending, reading) }).await.expect("in time");
    assert_eq!(gate.payloads(), payloads);
}

#[tokio::test]
async fn publishes_behind_connect_are_not_lost() {
    let gate = Gate::open();
    let mut client = gate.raw().await;
    client.send(&[connect(4, "c", 2, 0, &[]), publish(4, 1, 1, "d/a", b"x")].concat()).await;
    client.expect(&[0x20, 2, 0, 0, 0x40, 2, 0, 1]).await;
}

#[tokio::test]
async fn what_is_refused_is_counted_and_answered_in_the_clients_version() {
    let gate = Gate::open();
    gate.rules.send_modify(|rules| *rules = Arc::new(Rules::clone(rules).only(["good"])));
    let mut v5 = gate.v5("c5").await;
    v5.send(&publish(5, 1, 1, "other", b"x")).await;
    v5.expect(&[0x40, 3, 0, 1, 0x90]).await;
    v5.send(&publish(5, 2, 2, "d/bad", b"x")).await;
    v5.expect(&[0x50, 3, 0, 2, 0x87]).await;
    let mut v3 = gate.v3("c3").await;
    v3.send(&[publish(4, 1, 1, "other", b"x"), publish(4, 2, 2, "d/bad", b"x"), publish(4, 0, 0, "no", b"")].concat())
        .await;
    v3.expect(&[0x40, 2, 0, 1, 0x50, 2, 0, 2]).await;
    v3.send(&[0x62, 2, 0, 2]).await;
    v3.expect(&[0x70, 2, 0, 2]).await;
    assert_eq!((gate.stats.refused_topic.get(), gate.stats.refused_device.get()), (3, 2));
    assert_eq!(gate.store.stats().refused, 5, "durably");
    assert_eq!(gate.payloads().len(), 0);
}

#[tokio::test]
async fn a_topic_longer_than_any_is_refused() {
    let gate = Gate::open();
    let long = format!("d/{}", "x".repeat(2_000));
    let mut client = gate.v5("c").await;
    client
        .send(&[publish(5, 1, 1, &long, b"x"), publish(5, 1, 2, &long, b"x"), publish(5, 1, 3, "d/a", b"x")].concat())
        .await;
    client.expect(&[0x40, 3, 0, 1, 0x90, 0x40, 3, 0, 2, 0x90, 0x40, 2, 0, 3]).await;
}

#[tokio::test]
async fn rules_that_change_hold_from_the_next_publish_on() {
    let gate = Gate::open();
    let mut client = gate.v5("c").await;
    client.send(&publish(5, 1, 1, "d/a", b"x")).await;
    client.expect(&[0x40, 2, 0, 1]).await;
    gate.rules.send_replace(rules(&["e/{device}"], Some(LaneId(2))));
    client.send(&[publish(5, 1, 2, "d/a", b"x"), publish(5, 1, 3, "e/a", b"x")].concat()).await;
    client.expect(&[0x40, 2, 0, 2, 0x40, 2, 0, 3]).await;
    assert_eq!(gate.stored_in(LaneId(2))[0].0, "d/a", "the fallback's device is the topic");
    assert_eq!(gate.stored_in(NORMAL).len(), 2);
}

#[tokio::test]
async fn a_topic_alias_stands_for_its_topic() {
    let gate = Gate::open();
    let mut client = gate.v5("c").await;
    let aliased = |id: u8, topic: &str, alias: u8| packet(0x32, &[&text(topic), &[0, id, 3, 0x23, 0, alias], b"x"]);
    client.send(&[aliased(1, "d/a", 1), aliased(2, "d/b", 16), aliased(3, "", 1), aliased(4, "", 16)].concat()).await;
    client.expect(&[0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3, 0x40, 2, 0, 4]).await;
    // Set anew, between other properties.
    let properties = [&[0x01, 1, 0x23, 0, 1, 0x26][..], &text("k"), &text("v")].concat();
    client.send(&packet(0x32, &[&text("d/c"), &[0, 5, properties.len() as u8], &properties, b"x"])).await;
    client.send(&aliased(6, "", 1)).await;
    client.expect(&[0x40, 2, 0, 5, 0x40, 2, 0, 6]).await;
    let devices: Vec<_> = gate.stored_in(NORMAL).into_iter().map(|record| record.0).collect();
    assert_eq!(devices, ["a", "b", "a", "b", "c", "c"]);
}

#[tokio::test]
async fn many_records_from_few_bytes_all_arrive() {
    let gate = Gate::open();
    let mut client = gate.v5("c").await;
    let topic = format!("d/{}", "x".repeat(900));
    client.send(&packet(0x30, &[&text(&topic), &[3, 0x23, 0, 1]])).await;
    // 2,000 records of 1.8 KB from 12 bytes each: many times the permits of one read.
    let repeated = packet(0x30, &[&text(""), &[3, 0x23, 0, 1], b"abc"]).repeat(2_000);
    client.send(&repeated).await;
    client.send(&publish(5, 1, 1, "d/last", b"x")).await;
    client.expect(&[0x40, 2, 0, 1]).await;
    assert_eq!(gate.payloads().len(), 2_002);
}

#[tokio::test]
async fn a_repeated_qos_2_publish_is_stored_once() {
    let gate = Gate::open();
    let mut client = gate.v3("c").await;
    let first = publish(4, 2, 5, "d/a", b"x");
    let mut again = first.clone();
    again[0] |= 0x08;
    client.send(&[first, again.clone(), again.clone()].concat()).await;
    client.expect(&[0x50, 2, 0, 5, 0x50, 2, 0, 5, 0x50, 2, 0, 5]).await;
    assert_eq!((gate.payloads().len(), gate.stats.repeats.get()), (1, 2));
    client.send(&[0x62, 2, 0, 5]).await;
    client.expect(&[0x70, 2, 0, 5]).await;
    again[0] &= !0x08;
    client.send(&again).await;
    client.expect(&[0x50, 2, 0, 5]).await;
    assert_eq!(gate.payloads().len(), 2, "after its release the identifier names another publish");
}

#[tokio::test]
async fn a_release_of_what_is_not_known_is_completed() {
    let gate = Gate::open();
    let mut v3 = gate.v3("c3").await;
    v3.send(&[0x62, 2, 0, 9]).await;
    v3.expect(&[0x70, 2, 0, 9]).await;
    let mut v5 = gate.v5("c5").await;
    v5.send(&[0x62, 4, 0, 9, 0, 0]).await;
    v5.expect(&[0x70, 3, 0, 9, 0x92]).await;
}

#[tokio::test]
async fn pings_are_answered_and_retain_means_nothing() {
    let gate = Gate::open();
    let mut client = gate.v3("c").await;
    let mut retained = publish(4, 1, 1, "d/a", b"x");
    retained[0] |= 1;
    client.send(&[vec![0xc0, 0], retained].concat()).await;
    client.expect(&[0xd0, 0, 0x40, 2, 0, 1]).await;
}

#[tokio::test]
async fn only_alarms_can_be_subscribed_to_and_nobody_is_hung_up_on() {
    let gate = Gate::open();
    let mut v3 = gate.v3("c3").await;
    v3.send(&subscribe(4, 1, &["#", "tidegate/alarm", "d/a"])).await;
    v3.expect(&[0x90, 5, 0, 1, 0x80, 0, 0x80]).await;
    let mut v5 = gate.v5("c5").await;
    v5.send(&subscribe(5, 2, &["tidegate/alarm", "a/#", "d/a", "$share/g/d/a", ""])).await;
    v5.expect(&[0x90, 8, 0, 2, 0, 0, 0xa2, 0x87, 0x9e, 0x8f]).await;
    assert!(gate.alarms.raise(Subject::Store, Alarm("nothing delivered for an hour".into())) > 0, "somebody is told");
    let body = [&text("tidegate/alarm")[..], b"nothing delivered for an hour"].concat();
    v3.expect(&packet(0x30, &[&body])).await;
    assert_eq!(v5.packet().await[18..], *b"\0nothing delivered for an hour");
    v3.send(&packet(0xa2, &[&[0, 3], &text("tidegate/alarm")])).await;
    v3.expect(&[0xb0, 2, 0, 3]).await;
    v5.send(&packet(0xa2, &[&[0, 4, 0], &text("other"), &text("tidegate/alarm")])).await;
    v5.expect(&[0xb0, 5, 0, 4, 0, 0x11, 0]).await;
    assert_eq!(gate.alarms.raise(Subject::Store, Alarm("x".into())), 0, "nobody listens any more");
}

#[tokio::test]
async fn who_subscribes_while_an_alarm_is_in_force_hears_it_at_once_and_after_its_end_nothing() {
    let gate = Gate::open();
    let alarm = |text: &str| Alarm(text.into());
    assert_eq!(gate.alarms.raise(Subject::Store, alarm("stalled")), 0, "nobody is there yet");
    let mut during = gate.v3("during").await;
    during.send(&subscribe(4, 1, &["tidegate/alarm"])).await;
    during.expect(&[0x90, 3, 0, 1, 0]).await;
    during.expect(&packet(0x30, &[&text("tidegate/alarm"), b"stalled"])).await;
    assert_eq!(gate.alarms.end(Subject::Store, alarm("recovered")), 1);
    during.expect(&packet(0x30, &[&text("tidegate/alarm"), b"recovered"])).await;
    let mut after = gate.v3("after").await;
    after.send(&subscribe(4, 1, &["tidegate/alarm"])).await;
    after.expect(&[0x90, 3, 0, 1, 0]).await;
    after.send(&[0xc0, 0]).await;
    after.expect(&[0xd0, 0]).await;
}

#[tokio::test]
async fn a_subscribe_of_a_thousand_filters_is_answered_for_each_of_them() {
    let gate = Gate::open();
    let filters: Vec<String> = (0..1_000).map(|number| format!("plant/line/{number:04}/setpoint")).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    for (version, refused) in [(4, 0x80), (5, 0x87)] {
        let mut client = gate.raw().await;
        client.send(&connect(version, "c", 2, 0, &[])).await;
        client.packet().await;
        client.send(&subscribe(version, 7, &filters)).await;
        let answer = client.packet().await;
        assert!(answer.ends_with(&vec![refused; 1_000]), "version {version}: {answer:?}");
        client.send(&[0xc0, 0]).await;
        client.expect(&[0xd0, 0]).await;
    }
}

#[tokio::test]
async fn a_long_alarm_is_cut_and_a_small_client_is_spared() {
    let gate = Gate::open();
    let mut small = gate.raw().await;
    small.send(&connect(5, "small", 2, 0, &[0x27, 0, 0, 0, 200])).await;
    small.packet().await;
    let mut large = gate.v3("large").await;
    for (client, version) in [(&mut small, 5), (&mut large, 4)] {
        client.send(&subscribe(version, 1, &["tidegate/alarm"])).await;
        client.packet().await;
    }
    assert!(gate.alarms.raise(Subject::Store, Alarm("é".repeat(3_000).into())) > 0, "somebody is told");
    assert!(gate.alarms.raise(Subject::Store, Alarm("short".into())) > 0, "somebody is told");
    let cut = large.packet().await;
    assert_eq!(&cut[3 + 16..], "é".repeat(512).as_bytes());
    assert!(small.packet().await.ends_with(b"short"), "the long one was left out");
}

#[tokio::test]
async fn stopping_acknowledges_and_says_goodbye() {
    let gate = Gate::open();
    let mut v5 = gate.v5("c5").await;
    let mut v3 = gate.v3("c3").await;
    v5.send(&publish(5, 1, 1, "d/a", b"x")).await;
    v5.expect(&[0x40, 2, 0, 1]).await;
    gate.stop.cancel();
    v5.expect(&[0xe0, 1, 0x8b]).await;
    assert_eq!(v5.rest().await, [0; 0]);
    assert_eq!(v3.rest().await, [0; 0]);
    drop((v5, v3));
    timeout(PATIENCE, gate.running).await.expect("in time").expect("stopped");
    assert!(TcpStream::connect(gate.addr).await.is_err(), "accepts no more");
}

#[tokio::test]
async fn a_client_library_publishes_with_every_quality_of_service() {
    let gate = Gate::open();
    let mut options = MqttOptions::new("library", "127.0.0.1", gate.addr.port());
    options.set_inflight(20);
    let (client, mut events) = AsyncClient::new(options, 100);
    let sending = async {
        for number in 0..300_u32 {
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][number as usize % 3];
            client.publish("d/library", qos, false, number.to_string()).await.expect("taken");
        }
        client.disconnect().await.expect("taken");
    };
    let polling = async {
        let (mut acknowledged, mut completed) = (0, 0);
        loop {
            match events.poll().await.expect("a connection") {
                Event::Incoming(Packet::PubAck(_)) => acknowledged += 1,
                Event::Incoming(Packet::PubComp(_)) => completed += 1,
                Event::Outgoing(Outgoing::Disconnect) => break (acknowledged, completed),
                _ => {}
            }
        }
    };
    let ((), _) = timeout(PATIENCE, async { tokio::join!(sending, polling) }).await.expect("in time");
    gate.until("all stored", |stats| stats.collected.get() == 300).await;
    let numbers: Vec<_> = gate.payloads();
    assert_eq!(numbers, (0..300_u32).map(|number| number.to_string().into_bytes()).collect::<Vec<_>>());
}
