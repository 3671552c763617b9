"""Messages of the loop are hints: none is owed an answer, and none holds up the next."""

from __future__ import annotations

from kombu import Queue

from flexai.config.celery import HintTransport, app

QUEUE = "test-hints"


def test_a_message_that_is_never_acknowledged_holds_up_nothing():
    """As when the broker dies between a message and its acknowledgement: the worker must go on asking for more."""
    taken = []
    with app.connection_for_write() as connection, app.connection_for_read() as reading:
        assert isinstance(reading.transport, HintTransport)
        producer = app.amqp.Producer(connection, auto_declare=True)
        queue = Queue(QUEUE, routing_key=QUEUE)
        for number in range(3):
            producer.publish(number, routing_key=QUEUE, declare=[queue])
        with app.amqp.TaskConsumer(reading, queues=[queue], accept=["json"]) as consumer:
            consumer.qos(prefetch_count=1)
            consumer.on_message = taken.append
            while len(taken) < 3:
                reading.drain_events(timeout=60)
            assert consumer.channel.qos.can_consume()
            assert not consumer.channel.client.exists("unacked", "unacked_index")
            taken[0].ack()
            taken[1].reject(requeue=True)
            assert consumer.channel.client.llen(QUEUE) == 0
            consumer.channel.client.delete(QUEUE)
