"""Reads a key ledger against the rules of archiver/seal/FORMAT.md."""


class KeyLedger:
    """How many keys were made and used, and every rule that was broken."""

    def __init__(self, path):
        self.seals = 0
        self.kinds = {}
        self.problems = []
        self._purpose_of = {}
        self._key_of = {}
        self._once = set()
        self._envelopes = set()
        self._sealed_envelopes = set()
        self._nonces = set()
        with open(path, encoding="ascii") as lines:
            for number, line in enumerate(lines, 1):
                self._take(number, line)

    def _take(self, number, line):
        words = line.split()
        if words[0] == "seal" and len(words) == 3:
            self._seal(number, *words[1:])
        elif words[0] in ("once", "standing") and len(words) == 4:
            self._made(number, *words)
        else:
            self.problems.append(f"line {number} is no line of a ledger")

    def _made(self, number, life, key, purpose, kind):
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if self._purpose_of.setdefault(key, purpose) != purpose:
            self.problems.append(f"line {number}: a {kind} key that had "
                                 "another purpose before")
        if life == "once" and key in self._once:
            self.problems.append(f"line {number}: a {kind} key made again")
        if life == "once":
            self._once.add(key)
        if kind == "envelope":
            # Each is drawn for one message; they have no name.
            self._envelopes.add(key)
        elif self._key_of.setdefault(purpose, key) != key:
            self.problems.append(f"line {number}: a second {kind} key for "
                                 "the same purpose")

    def _seal(self, number, key, nonce):
        self.seals += 1
        if nonce in self._nonces:
            self.problems.append(f"line {number}: a nonce used twice")
        self._nonces.add(nonce)
        if key not in self._purpose_of:
            self.problems.append(f"line {number}: sealed under a key that "
                                 "nobody made")
        if key in self._sealed_envelopes:
            self.problems.append(f"line {number}: an envelope's key used "
                                 "twice")
        if key in self._envelopes:
            self._sealed_envelopes.add(key)
