"""Files of events for TensorBoard, read without it."""

from tensorboardX.proto.event_pb2 import Event

from fedjax_diffusion.data.tfds.tfrecord import read_tfrecords


def read_events(path):
    """Returns the events of a file without its first one, which names the version."""
    number, position, data = 0, 0, path.read_bytes()
    while position < len(data):
        position += 16 + int.from_bytes(data[position : position + 8], "little")
        number += 1
    return [Event.FromString(record) for record in read_tfrecords(path, number, 1, number)]


def list_points(events, name):
    """Returns the values of a number by step."""
    return {
        event.step: value.simple_value
        for event in events
        for value in event.summary.value
        if value.tag == name
    }
