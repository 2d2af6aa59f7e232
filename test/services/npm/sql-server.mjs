/**
 * A stand-in for SQL Server, made of tedious' own packets: takes any login, and answers a batch that has `select` in it with one row, 42.
 * With the `cert` and `key` of its argument, JSON, it takes TLS within TDS 7, where PRELOGIN packets carry the handshake, and clients that begin
 * with it (TDS 8); without them it has no TLS. Prints its port.
 */
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { createSecureContext, TLSSocket } from 'node:tls';

const require = createRequire(import.meta.url);
const DuplexPair = createRequire(require.resolve('tedious'))('native-duplexpair');
const [Debug, IncomingMessageStream, Message, OutgoingMessageStream, PreloginPayload] = [
  ...['debug', 'incoming-message-stream', 'message', 'outgoing-message-stream', 'prelogin-payload'],
].map((file) => {
  const module = require(`tedious/lib/${file}`);
  return module.default ?? module;
});
const { Packet, TYPE } = require('tedious/lib/packet');

const { cert, key } = JSON.parse(process.argv[2]);
// For all connections, so that their sessions can be resumed.
const secureContext = createSecureContext({ cert, key, maxVersion: 'TLSv1.2' });
const server = createServer((socket) => {
  socket.on('error', () => {});
  begin(socket).catch(() => socket.destroy());
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));

async function begin(socket) {
  await once(socket, 'readable');
  const first = socket.read();
  if (first === null) return;
  socket.unshift(first);
  // The first byte of a ClientHello, which no packet begins with.
  if (first[0] !== 0x16) return serve(socket, false);
  const stream = new TLSSocket(socket, { isServer: true, cert, key, ALPNProtocols: ['tds/8.0'] });
  stream.on('error', () => {});
  return serve(stream, true);
}

async function serve(socket, isStrict) {
  const debug = new Debug();
  const incoming = new IncomingMessageStream(debug);
  const outgoing = new OutgoingMessageStream(debug, { packetSize: 4096 });
  const messages = incoming[Symbol.asyncIterator]();
  const say = (type, ...parts) => {
    const message = new Message({ type });
    outgoing.write(message);
    message.end(Buffer.concat(parts));
  };
  socket.pipe(incoming);
  outgoing.pipe(socket);
  for (;;) {
    const { value: message, done } = await messages.next();
    if (done) return;
    const data = await whole(message);
    if (message.type === TYPE.PRELOGIN) {
      const wants = new PreloginPayload(data).encryptionString;
      const encrypt = !isStrict && cert !== undefined && (wants === 'ON' || wants === 'REQ');
      const version = { major: 16, minor: 0, build: 0, subbuild: 0 };
      if (encrypt) socket.unpipe(incoming);
      say(TYPE.TABULAR_RESULT, new PreloginPayload({ encrypt, version }).data);
      if (encrypt) await secure({ socket, incoming, outgoing, say });
    } else if (message.type === TYPE.LOGIN7) {
      say(TYPE.TABULAR_RESULT, loginAck(isStrict), ended(0, 0));
    } else if (data.toString('utf16le').includes('select')) {
      say(TYPE.TABULAR_RESULT, columnN, row42, ended(0x10, 1));
    } else {
      say(TYPE.TABULAR_RESULT, ended(0, 0));
    }
  }
}

/** TLS whose handshake is carried by messages of type PRELOGIN, one for each flight. */
async function secure({ socket, incoming, outgoing, say }) {
  const { socket1, socket2 } = new DuplexPair();
  const stream = new TLSSocket(socket1, { isServer: true, secureContext });
  stream.on('error', () => socket.destroy());
  let isSecure = false;
  stream.once('secure', () => {
    isSecure = true;
  });
  while (!isSecure) {
    socket2.write(await carriedBy(socket));
    let flight = Buffer.alloc(0);
    // It comes in pieces. Whoever resumes a session has the last word.
    while (!isFlight(flight) && !(isSecure && stream.isSessionReused())) {
      await turn();
      flight = Buffer.concat([flight, socket2.read() ?? Buffer.alloc(0)]);
    }
    if (flight.length > 0) say(TYPE.PRELOGIN, flight);
  }
  await turn();
  outgoing.unpipe(socket);
  socket.pipe(socket2).pipe(socket);
  stream.pipe(incoming);
  outgoing.pipe(stream);
}

/** What a message of type PRELOGIN brings. What follows it stays unread: it may be bare. */
async function carriedBy(socket) {
  const parts = [];
  for (let packet; !packet?.isLast(); parts.push(packet.data())) {
    const head = await readFrom(socket, 8);
    packet = new Packet(Buffer.concat([head, await readFrom(socket, head.readUInt16BE(2) - 8)]));
  }
  return Buffer.concat(parts);
}

async function readFrom(socket, length) {
  for (;;) {
    const bytes = socket.read(length);
    if (bytes?.length === length) return bytes;
    if (socket.readableEnded) throw new Error('the client left in the handshake');
    await Promise.race([once(socket, 'readable'), once(socket, 'end')]);
  }
}

/** Whether a server has said all that it says at once: up to ServerHelloDone, or to what follows ChangeCipherSpec. */
function isFlight(records) {
  let hasChanged = false;
  for (let at = 0; at + 5 <= records.length; at += 5 + records.readUInt16BE(at + 3)) {
    const end = at + 5 + records.readUInt16BE(at + 3);
    if (end > records.length) return false;
    if (hasChanged || records.readUInt32BE(end - 4) === 0x0e000000) return true;
    hasChanged = records[at] === 20;
  }
  return false;
}

async function whole(message) {
  const parts = [];
  for await (const part of message) parts.push(part);
  return Buffer.concat(parts);
}

/** LOGINACK: token; USHORT length; interface; TDS version; name and its length; program's version. */
function loginAck(isStrict) {
  const name = Buffer.from('stand-in', 'utf16le');
  const body = Buffer.concat([
    Buffer.from([1, ...(isStrict ? [8, 0, 0, 0] : [0x74, 0, 0, 4]), name.length / 2]),
    name,
    Buffer.from([16, 0, 0, 0]),
  ]);
  return Buffer.concat([Buffer.from([0xad, body.length, 0]), body]);
}

/** COLMETADATA of one column of type INT4 that is called `n`, and its ROW. */
const columnN = Buffer.from([0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0x38, 1, 'n'.charCodeAt(0), 0]);
const row42 = Buffer.from([0xd1, 42, 0, 0, 0]);

/** DONE: token; USHORT status; USHORT command; rows. */
function ended(status, rows) {
  return Buffer.from([0xfd, status, 0, rows ? 0xc1 : 0, 0, rows, 0, 0, 0, 0, 0, 0, 0]);
}
