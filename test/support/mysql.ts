/** As much of MySQL as the tests need: a server with or without TLS, and a client that logs in by mysql_native_password. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { can, common } from '../../src/protocols/mysql/capabilities.ts';
import { greetingIn } from '../../src/protocols/mysql/greeting.ts';
import { encodePacket } from '../../src/protocols/mysql/packets.ts';
import type { Credential } from './certificates.ts';
import { withPrefix } from './raw-client.ts';
import { tcpUpstream } from './upstream.ts';
import { serverTls } from './within-tls.ts';

export type Packet = { readonly sequence: number; readonly payload: Buffer };

/** The packets that arrive on a socket, one at a time; rejects if it closes first. */
export function packetsOf(socket: Socket): { next: () => Promise<Packet>; stop: () => void } {
  let held = Buffer.alloc(0);
  let wake = (): void => {};
  let isOver = false;
  const onData = (chunk: Buffer): void => {
    held = Buffer.concat([held, chunk]);
    wake();
  };
  const onClose = (): void => {
    isOver = true;
    wake();
  };
  socket.on('data', onData).on('close', onClose).on('end', onClose).on('error', onClose);
  return {
    async next() {
      for (;;) {
        const end = held.length < 4 ? Number.POSITIVE_INFINITY : 4 + held.readUIntLE(0, 3);
        if (held.length >= end) {
          const packet = { sequence: held.readUInt8(3), payload: held.subarray(4, end) };
          held = held.subarray(end);
          return packet;
        }
        if (isOver) throw new Error(`closed, with ${held.length} bytes of a packet`);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    stop() {
      socket.off('data', onData).off('close', onClose).off('end', onClose).off('error', onClose).pause();
      // A ClientHello may have come with the request for TLS.
      if (held.length > 0) socket.unshift(held);
    },
  };
}

export const serverNonce = Buffer.from('abcdefghijklmnopqrst');

/** A greeting as servers write it. */
export function greetingOf({
  capabilities = common,
  plugin = 'mysql_native_password',
  nonce = serverNonce,
  version = '8.4.0-test',
  threadId = 77,
} = {}): Buffer {
  const fixed = Buffer.alloc(31);
  fixed.writeUInt32LE(threadId, 0);
  nonce.copy(fixed, 4, 0, 8);
  fixed.writeUInt16LE(capabilities & 0xffff, 13);
  fixed.writeUInt8(45, 15);
  fixed.writeUInt16LE(2, 16);
  fixed.writeUInt16LE(capabilities >>> 16, 18);
  fixed.writeUInt8(nonce.length + 1, 20);
  const parts = [Buffer.from(`\n${version}\0`), fixed, nonce.subarray(8), Buffer.from(`\0${plugin}\0`)];
  return encodePacket(0, Buffer.concat(parts));
}

/** SHA1(password) xor SHA1(nonce, SHA1(SHA1(password))) */
function nativeProof(password: string, nonce: Buffer): Buffer {
  const sha1 = (...parts: Buffer[]) => createHash('sha1').update(Buffer.concat(parts)).digest();
  const once = sha1(Buffer.from(password));
  return Buffer.from(sha1(nonce, sha1(once)).map((byte, at) => byte ^ (once[at] ?? 0)));
}

export const ok: Buffer = Buffer.from([0, 0, 0, 2, 0, 0, 0]);

/** The parts of a login that its server sees: what it has been asked for TLS with, the login, and whether by TLS. */
export type Seen = { request: Buffer | undefined; login: Packet; isSecure: boolean };

export type MysqlServer = {
  readonly port: number;
  readonly accepted: () => number;
  readonly seen: readonly Seen[];
  /** What came behind logins. */
  readonly commands: readonly Buffer[];
};

type Behaviour = {
  readonly greeting?: Buffer;
  /** What follows the login, until OK; by default the proof is checked, which belongs to `secret`. */
  readonly afterLogin?: (talk: Talk, login: Packet) => Promise<void>;
};

/** To say something with the number that is due, and to hear what is answered. */
export type Talk = { say: (payload: Buffer) => void; hear: () => Promise<Packet> };

/** Answers every packet behind the login with OK. */
export async function mysqlServer(
  t: TestContext,
  credential: Credential,
  { greeting = greetingOf(), afterLogin = checkProof }: Behaviour = {},
): Promise<MysqlServer> {
  const seen: Seen[] = [];
  const commands: Buffer[] = [];
  let accepted = 0;
  const { port } = await tcpUpstream(t, (socket) => {
    accepted++;
    serve(socket).catch(() => socket.destroy());
  });
  return { port, accepted: () => accepted, seen, commands };

  async function serve(raw: Socket): Promise<void> {
    raw.on('error', () => {});
    raw.write(greeting);
    let packets = packetsOf(raw);
    let stream: Socket = raw;
    let login = await packets.next();
    let request: Buffer | undefined;
    if (login.payload.length === 32) {
      request = login.payload;
      packets.stop();
      stream = serverTls(raw, credential);
      packets = packetsOf(stream);
      login = await packets.next();
    }
    seen.push({ request, login, isSecure: stream !== raw });
    let next = login.sequence + 1;
    const talk: Talk = {
      say: (payload) => void stream.write(encodePacket(next++, payload)),
      async hear() {
        const packet = await packets.next();
        if (packet.sequence !== next) throw new Error(`${packet.sequence} where ${next} was due`);
        next = packet.sequence + 1;
        return packet;
      },
    };
    await afterLogin(talk, await proven(talk, login));
    for (;;) {
      const { sequence, payload } = await packets.next();
      commands.push(payload);
      stream.write(encodePacket(sequence + 1, ok));
    }
  }
}

/** The login, or a proof that was asked for because the login names another plugin than its account's. */
async function proven({ say, hear }: Talk, login: Packet): Promise<Packet> {
  const plugin = 'mysql_native_password\0';
  if (login.payload.includes(plugin)) return login;
  say(Buffer.concat([Buffer.from(`\xfe${plugin}`, 'latin1'), serverNonce, Buffer.alloc(1)]));
  return hear();
}

async function checkProof({ say }: Talk, { payload }: Packet): Promise<void> {
  const isRight = payload.includes(nativeProof('secret', serverNonce));
  say(isRight ? ok : Buffer.from('\xff\x15\x04#28000Access denied', 'latin1'));
}

export type ClientOptions = {
  /** Undefined: it stays without TLS. */
  readonly servername?: string | undefined;
  readonly credential?: Credential;
  /** Sends its ClientHello together with the request for TLS. */
  readonly glued?: boolean;
  readonly capabilities?: number;
  readonly password?: string;
  /** A value of its connection attributes, which tells programs apart. */
  readonly program?: string;
  readonly localAddress?: string;
};

export type LoggedIn = {
  readonly greeting: ReturnType<typeof greetingIn>;
  /** What the other side said last. */
  readonly told: Packet;
  /** All numbers of what it said. */
  readonly numbers: readonly number[];
  readonly stream: Socket;
  readonly packets: ReturnType<typeof packetsOf>;
};

const taken = common & ~can.compress & ~can.zstd & ~can.ssl & ~can.connectWithDatabase;

/** Logs in as `app`; proves itself again as often as it is asked to. Resolves with the last answer. */
export async function logIn(t: TestContext, port: number, options: ClientOptions = {}): Promise<LoggedIn> {
  const { servername, capabilities = taken, password = 'secret', program, localAddress } = options;
  const raw = connect({ port, host: '127.0.0.1', noDelay: true, ...(localAddress && { localAddress }) });
  raw.on('error', () => {});
  t.after(() => raw.destroy());
  let packets = packetsOf(raw);
  const first = await packets.next();
  const greeting = greetingIn(encodePacket(0, first.payload));
  let stream: Socket = raw;
  let number = 1;
  if (servername !== undefined) {
    packets.stop();
    stream = await secure(raw, encodePacket(1, headOf(capabilities | can.ssl)), options);
    packets = packetsOf(stream);
    number = 2;
  }
  const login = loginOf(
    servername ? capabilities | can.ssl : capabilities,
    password,
    greeting.nonce,
    program,
  );
  stream.write(encodePacket(number, login));
  const numbers: number[] = [first.sequence];
  for (;;) {
    const told = await packets.next();
    numbers.push(told.sequence);
    const { payload } = told;
    if (payload[0] !== 0xfe && payload[0] !== 0x01) return { greeting, told, numbers, stream, packets };
    const nonce = payload.subarray(payload.indexOf(0, 1) + 1, -1);
    const proof = payload[0] === 0xfe ? nativeProof(password, nonce) : Buffer.from('more');
    stream.write(encodePacket(told.sequence + 1, proof));
  }
}

async function secure(
  raw: Socket,
  request: Buffer,
  { servername, credential, glued = false }: ClientOptions,
): Promise<TLSSocket> {
  if (!glued) raw.write(request);
  const stream = tlsConnect({
    socket: glued ? withPrefix(raw, request) : raw,
    ...(servername ? { servername } : {}),
    ...(credential && { cert: credential.chain, key: credential.key }),
    rejectUnauthorized: false,
  });
  if (glued) raw.resume();
  await once(stream, 'secureConnect');
  stream.on('error', () => {});
  return stream;
}

export function headOf(capabilities: number): Buffer {
  const head = Buffer.alloc(32);
  head.writeInt32LE(capabilities, 0);
  head.writeUInt32LE(1 << 24, 4);
  head.writeUInt8(33, 8);
  return head;
}

/** The payload of a login. */
export function loginOf(capabilities: number, password: string, nonce: Buffer, program = 'tests'): Buffer {
  const proof = password === '' ? Buffer.alloc(0) : nativeProof(password, nonce);
  const pair = Buffer.from(`\x05_name${String.fromCharCode(program.length)}${program}`, 'latin1');
  const attributes = Buffer.concat([Buffer.from([pair.length]), pair]);
  return Buffer.concat([
    headOf(capabilities),
    Buffer.from('app\0'),
    Buffer.from([proof.length]),
    proof,
    ...(capabilities & can.connectWithDatabase ? [Buffer.from('orders\0')] : []),
    Buffer.from('mysql_native_password\0'),
    ...(capabilities & can.attributes ? [attributes] : []),
    ...(capabilities & can.zstd ? [Buffer.from([7])] : []),
  ]);
}

/** The code, state and text of an error. */
export function errorIn({ payload }: Packet): { code: number; text: string } | undefined {
  if (payload[0] !== 0xff) return undefined;
  return { code: payload.readUInt16LE(1), text: payload.toString('utf8', 3) };
}
