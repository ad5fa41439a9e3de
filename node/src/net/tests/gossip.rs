//! Messages to all: they cross, they are told apart, they have bounds.

use super::*;

#[tokio::test]
async fn gossip_crosses_a_line_of_three() {
    let (mut first, mut middle, mut last) = (Node::on(TCP), Node::on(QUIC), Node::on(TCP));
    first.dial(&mut middle).await;
    middle.subscribed(first.id()).await;
    last.dial(&mut middle).await;
    first.subscribed(middle.id()).await;
    middle.subscribed(last.id()).await;
    last.subscribed(middle.id()).await;
    assert_eq!(first.net.publish(TOPIC, b"hello".to_vec()).await.unwrap(), 1);
    assert_eq!(middle.gossip().await, (first.id(), b"hello".to_vec()));
    assert_eq!(last.gossip().await, (first.id(), b"hello".to_vec()));
    assert_eq!(within(middle.net.subscribers(TOPIC)).await.unwrap().len(), 2);
    for node in [first, middle, last] {
        node.end().await;
    }
}

#[tokio::test]
async fn the_same_payload_three_times_is_delivered_three_times() {
    let (mut asker, mut other) = (Node::on(TCP), Node::on(TCP));
    asker.dial(&mut other).await;
    asker.subscribed(other.id()).await;
    for _ in 0..3 {
        asker.net.publish(TOPIC, b"where is it".to_vec()).await.unwrap();
    }
    for _ in 0..3 {
        assert_eq!(other.gossip().await, (asker.id(), b"where is it".to_vec()));
    }
    asker.end().await;
    other.end().await;
}

#[tokio::test]
async fn the_largest_message_travels() {
    let (mut asker, mut other) = (Node::on(TCP), Node::on(TCP));
    asker.dial(&mut other).await;
    asker.subscribed(other.id()).await;
    let largest = pattern(1, MAX_GOSSIP);
    asker.net.publish(TOPIC, largest.clone()).await.unwrap();
    assert_eq!(other.gossip().await, (asker.id(), largest));
    asker.end().await;
    other.end().await;
}

#[tokio::test]
async fn publishing_to_nobody_or_too_much_is_a_typed_answer() {
    let node = Node::on(TCP);
    let alone = within(node.net.publish(TOPIC, vec![1])).await;
    assert!(matches!(alone, Err(PublishError::InsufficientPeers { .. })), "{alone:?}");
    let large = within(node.net.publish(TOPIC, vec![0; MAX_GOSSIP + 1])).await;
    assert!(matches!(large, Err(PublishError::TooLarge { .. })), "{large:?}");
    node.end().await;
}
