// A session gateway on @grpc/grpc-js, with only the .proto files: opens a
// session, sends packets and a tag, and ends with the receipt.
//
//   node gateway.js PROTO_ROOT HOST:PORT PROFILE_DIR SESSION_JSON
//
// Prints one JSON object with what the archive answered.
'use strict';

const fs = require('fs');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const BATCH = 25;

const [root, address, profile, sessionFile] = process.argv.slice(2);
const session = JSON.parse(fs.readFileSync(sessionFile, 'utf8'));

const definition = protoLoader.loadSync('proto/api/v1/ingest.proto', {
  includeDirs: [root, '/usr/include'],
  keepCase: true,
  longs: Number,
  oneofs: true,
});
const api = grpc.loadPackageDefinition(definition).diptych.api.v1;

const read = (name) => fs.readFileSync(path.join(profile, name));
const client = new api.Ingest(
    address,
    grpc.credentials.createSsl(
        read('ca.crt'), read('client.key'), read('client.crt')));

const bytes = (text) => Buffer.from(text, 'base64');
const said = {opened: null, durable: {}, receipt: null};

function sendSession(stream) {
  stream.write({
    open: {
      session_id: session.session,
      start_time: {seconds: Math.floor(Date.now() / 1000), nanos: 0},
      sides: session.sides.map((side) => ({
        side: side.side,
        tracks: side.tracks.map(
            (t) => ({...t, codec_config: bytes(t.codec_config)})),
      })),
    },
  });
}

function* messagesByTime() {
  const batches = [];
  for (const side of session.sides) {
    for (let at = 0; at < side.packets.length; at += BATCH) {
      batches.push(side.packets.slice(at, at + BATCH));
    }
  }
  batches.sort((a, b) => a[0].pts_us - b[0].pts_us);
  const clerk = session.sides[session.sides.length - 1].side;
  yield {
    notes: {
      side: clerk,
      notes: [{
        note_sequence: 1,
        at_us: 0,
        tag: {
          key: 'clerk', values: ['C-node'], operation: 'TAG_OPERATION_SET',
        },
      }],
    },
  };
  for (const batch of batches) {
    yield {
      packets: {
        packets: batch.map((p) => ({...p, payload: bytes(p.payload)})),
      },
    };
  }
  yield {
    close: {
      sides: session.sides.map((side) => ({
        side: side.side,
        final_sequence: side.packets.length,
        final_note_sequence: side.side === clerk ? 1 : 0,
      })),
    },
  };
}

// Writes as fast as the stream takes it.
function pump(stream, messages) {
  for (;;) {
    const next = messages.next();
    if (next.done) {
      return;
    }
    if (!stream.write(next.value)) {
      stream.once('drain', () => pump(stream, messages));
      return;
    }
  }
}

function sideNumber(side) {
  return typeof side === 'number' ?
      side : api.Side.type.value.find((v) => v.name === side).number;
}

const stream = client.Record();
stream.on('data', (answer) => {
  switch (answer.message) {
    case 'opened':
      said.opened = {resumed: Boolean(answer.opened.resumed)};
      pump(stream, messagesByTime());
      break;
    case 'durable':
      for (const progress of answer.durable.progress) {
        const list = said.durable[sideNumber(progress.side)] ??= [];
        list.push(progress.sequence ?? 0);
      }
      break;
    case 'receipt':
      said.receipt = {
        session_id: answer.receipt.session_id,
        packets: Object.fromEntries(answer.receipt.sides.map(
            (s) => [sideNumber(s.side), s.packets])),
      };
      stream.end();
      break;
  }
});
stream.on('error', (error) => {
  process.stderr.write(`${error.code} ${error.details}\n`);
  process.exitCode = 1;
});
stream.on('status', (status) => {
  if (status.code === grpc.status.OK) {
    process.stdout.write(JSON.stringify(said) + '\n');
  }
  client.close();
});
sendSession(stream);
