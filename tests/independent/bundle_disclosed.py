"""Spans, notes and attachments, by what their records commit to.

("What a verifier shows", 7.)
"""

import re

import evidence_hashes as hashes
from untrue import require

_ATTACHMENT = re.compile(r"attachments/(\d{1,10})-[A-Za-z0-9._-]+")
_MAX_ATTACHMENT = 1 << 30
_MAX_NAME = 100


def file_name(attachment_id, event):
    """What an event's attachment is called in a bundle."""
    name = event.attachment_name.encode("utf-8") or b"attachment"
    name = re.sub(rb"[^A-Za-z0-9._-]", b"_", name[:_MAX_NAME])
    if name.startswith(b"."):
        name = b"_" + name[1:]
    return f"attachments/{attachment_id}-{name.decode('ascii')}"


class Disclosed:
    """Checks all of this; what it found are its attributes."""

    def __init__(self, proofs):
        self.proofs = proofs
        self.said = []
        self._spans()
        self._notes()
        self._attachments()
        self._note_numbers()

    def _spans(self):
        proofs = self.proofs
        self.spans = {}
        for entry in proofs.evidence.entries("spans"):
            header = proofs.record(entry, hashes.SPAN_STARTED).header
            data = entry.data("description")
            require(hashes.span_commitment(
                entry.data("salt", 32), proofs.session, header.span, data)
                == header.commitment,
                f"{entry.place} is not what its record commits to")
            require(header.span not in self.spans,
                    f"{entry.place}: the span is there twice")
            description = proofs.reader.read("SpanDescription", data,
                                             entry.place)
            tracks = {t.track_id: t for t in description.tracks}
            require(len(tracks) == len(description.tracks),
                    f"{entry.place} has a track twice")
            self.spans[header.span] = tracks

    def _notes(self):
        proofs = self.proofs
        self.notes = {}
        self.events = {}
        for entry in proofs.evidence.entries("notes"):
            header = proofs.record(entry, hashes.NOTES).header
            at = entry.number("at")
            require(at < len(header.commitments),
                    f"{entry.place}: its record has no note {at}")
            number = header.first_note + at
            data = entry.data("note")
            require(hashes.note_commitment(
                entry.data("salt", 32), proofs.session, header.side, number,
                data) == header.commitments[at],
                f"{entry.place} is not what its record commits to")
            note = proofs.reader.read("Note", data, entry.place)
            require(note.note == number,
                    f"{entry.place} has another number than its place")
            require((header.side, number) not in self.notes,
                    f"{entry.place} is there twice")
            self.notes[header.side, number] = note
            if note.event is not None and note.event.attachment_id:
                self.events[note.event.attachment_id] = note.event

    def _attachments(self):
        proofs = self.proofs
        parts, ids, used = {}, {}, set()
        for entry in proofs.evidence.entries("attachments"):
            record = proofs.record(entry, hashes.ATTACHMENT_PART)
            header = record.header
            require(record.digest not in used,
                    f"{entry.place}: its record is there twice")
            used.add(record.digest)
            name = entry.text("file")
            match = _ATTACHMENT.fullmatch(name)
            require(match is not None
                    and match[1] == str(header.attachment_id),
                    f"{entry.place}: its file's name")
            require(ids.setdefault(header.attachment_id, name) == name,
                    f"{entry.place}: one attachment in two files")
            offset, size = entry.number("offset"), entry.number("bytes")
            require(offset == header.offset,
                    f"{entry.place} lies elsewhere in its attachment")
            data = proofs.read(name, _MAX_ATTACHMENT)[offset:offset + size]
            require(len(data) == size, f"{entry.place}: {name} is too short")
            require(hashes.part_commitment(
                entry.data("salt", 32), proofs.session, header.attachment_id,
                offset, data) == header.commitment,
                f"{entry.place}: {name} is not what its record commits to")
            parts.setdefault(name, []).append((offset, size))
        for name, found in parts.items():
            at = 0
            for offset, size in sorted(found):
                require(offset == at, f"{name}: byte {at} is not proven")
                at += size
            require(at == proofs.bag.files["data/" + name],
                    f"{name} has more bytes than were committed to")
        for number, event in self.events.items():
            if number in ids:
                require(event.attachment_bytes
                        == proofs.bag.files["data/" + ids[number]],
                        f"{ids[number]} is not as long as its event says")
                require(ids[number] == file_name(number, event),
                        f"{ids[number]} is not called as its event says")
        self.attachments = len(ids)

    def _note_numbers(self):
        """Says which notes are not shown; a number is given once."""
        proofs = self.proofs
        shown = {}
        for record in proofs.records:
            header = record.header
            if record.kind == hashes.NOTES:
                require(header.last_note - header.first_note + 1
                        == len(header.commitments) and header.first_note,
                        f"{record.place}: its notes are not counted right")
                taken = [(header.side, n) for n in
                         range(header.first_note, header.last_note + 1)]
            elif record.kind == hashes.ATTACHMENT_PART:
                taken = [(header.side, header.note)]
            elif record.kind == hashes.SOURCE_DIGEST:
                require(header.statement is not None,
                        f"{record.place} has no statement")
                taken = [(header.statement.side, header.note)]
            else:
                continue
            for side, number in taken:
                require(number > 0 and (side, number) not in shown,
                        f"{record.place}: its note's number is taken")
                shown[side, number] = (record.kind != hashes.NOTES
                                       or (side, number) in self.notes)
        sides = proofs.reader.schema.enums["Side"]
        last = {side: max((n for s, n in shown if s == side), default=0)
                for side in sides}
        if proofs.closed:
            for totals in proofs.closed.header.sides:
                require(last[totals.side] <= totals.last_note,
                        "a note has a higher number than closed says")
                last[totals.side] = totals.last_note
        for side in sorted(sides):
            hidden = sum(1 for n in range(1, last[side] + 1)
                         if not shown.get((side, n)))
            if last[side]:
                word = sides[side].removeprefix("SIDE_").lower()
                self.said.append(
                    f"Notes of the {word} side: {last[side] - hidden} of "
                    f"{last[side]} are shown.")
