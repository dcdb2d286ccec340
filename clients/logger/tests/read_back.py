"""Reads a recording with the public Python packages and prints what is in it as one JSON object."""

import json
import sys

from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory


def main(path):
    counts, cycles, gap_markers = {}, [], []
    last_state, last_event, last_health, catalog = None, None, None, None
    with open(path, "rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        summary = reader.get_summary()
        metadata = {record.name: record.metadata for record in reader.iter_metadata()}
        attachments = {a.name: json.loads(a.data) for a in reader.iter_attachments()}
        for decoded in reader.iter_decoded_messages():
            topic, message = decoded.channel.topic, decoded.decoded_message
            counts[topic] = counts.get(topic, 0) + 1
            if topic == "/state":
                cycles.append(message.cycle)
                last_state = decoded
            elif topic == "/events":
                last_event = message
            elif topic == "/health":
                last_health = message
            elif topic == "/catalog":
                catalog = message
            elif topic == "/gaps":
                gap_markers.append([message.number_first, message.number_last])
    result = {
        "counts": counts,
        "statistics": summary.statistics.message_count,
        "first_cycle": cycles[0] if cycles else None,
        "last_cycle": cycles[-1] if cycles else None,
        "gaps": sum(after != before + 1 for before, after in zip(cycles, cycles[1:])),
        "gap_markers": gap_markers,
        "metadata": metadata,
        "attachments": attachments,
    }
    if catalog is not None:
        result["units"] = [axis.unit for axis in catalog.axes]
    if last_state is not None:
        state = last_state.decoded_message
        field = state.DESCRIPTOR.fields_by_name["phase"]
        result["state"] = {
            "log_time": last_state.message.log_time,
            "sequence": last_state.message.sequence,
            "wake_ns": state.wake_ns,
            "phase": field.enum_type.values_by_number[state.phase].name,
            "reason_axis_present": state.HasField("reason_axis"),
            "axes": [axis.name for axis in state.axes],
            "position_actual": [axis.position_actual for axis in state.axes],
            "fields": sorted(f.name for f in state.axes[0].DESCRIPTOR.fields),
        }
    if last_event is not None:
        result["event"] = [last_event.code_word, last_event.detail_word]
    if last_health is not None:
        result["health_cycles"] = last_health.cycles
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
