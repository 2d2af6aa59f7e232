/**
 * All that a client says before it is routed, in order and over a stream: a PROXY header, PostgreSQL's preamble, a
 * ClientHello. The first byte of an input says which of them the listener expects, the second how the rest is cut.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { readOpening, readProxyHeader } from '../../../src/connection/opening.ts';
import { admitPlain } from '../../../src/decide/decide.ts';
import { enforce } from '../../../src/decide/refusals.ts';
import type { Rules } from '../../../src/decide/rules.ts';
import { type Code, ProxyError } from '../../../src/errors.ts';
import type { Address } from '../../../src/net/address.ts';
import { createHelloReader } from '../../../src/peek/client-hello.ts';
import { Peek } from '../../../src/peek/peek.ts';
import { protocols } from '../../../src/protocols/table.ts';
import { helloMessage, inRecords, serverName } from '../../support/client-hellos.ts';
import { assertSame } from '../outcome.ts';
import type { Target } from '../target.ts';

const hello = inRecords(helloMessage({ extensions: [serverName('a.example')] }), 60);
const proxyV1 = Buffer.from('PROXY TCP4 192.0.2.1 203.0.113.7 56324 443\r\n');
const proxyV2 = Buffer.from('0d0a0d0a000d0a515549540a2111000cc0000201cb007107d2c11538', 'hex');
const [sslRequest, gssRequest] = ['0000000804d2162f', '0000000804d21630'].map((hex) =>
  Buffer.from(hex, 'hex'),
);
const cancel = Buffer.from('0000001004d2162e0000000100000002', 'hex');
const startup = Buffer.from('00000014000300007573657200613a620000', 'hex');

/** Bits of the first byte. */
const expects = { proxyHeader: 1, postgres: 2, plain: 4 } as const;

const input = (flags: number, pieces: number, ...parts: (Buffer | undefined)[]): Buffer =>
  Buffer.concat([Buffer.of(flags, pieces), ...parts.filter((part) => part !== undefined)]);

export const target: Target = {
  name: 'opening',
  seeds: () => [
    input(0, 0, hello),
    input(0, 9, hello, Buffer.from('payload')),
    input(1, 3, proxyV1, hello),
    input(1, 40, proxyV2, hello, hello),
    input(5, 0, proxyV2, Buffer.from('PING\r\n')),
    input(2, 8, sslRequest, hello),
    input(2, 8, gssRequest, sslRequest, hello),
    input(2, 8, gssRequest, gssRequest),
    input(2, 16, cancel),
    input(6, 5, startup),
    input(3, 0, proxyV1, startup),
    input(2, 255, hello),
  ],
  tokens: [proxyV1, proxyV2, sslRequest, gssRequest, cancel, startup, hello].map((token) => token ?? cancel),
  maxLength: 4000,
  async check(bytes) {
    const [flags = 0, size = 0] = bytes;
    const wire = bytes.subarray(2);
    const atOnce = await serve(flags, [wire]);
    const inPieces = await serve(flags, cut(wire, size));
    for (const told of [atOnce, inPieces]) checkTold(told, wire, (flags & expects.postgres) !== 0);
    // Of PostgreSQL, what comes ahead of an answer and what comes behind it are not the same.
    if ((flags & expects.postgres) === 0) assertSame(inPieces, atOnce, 'in pieces it is another opening');
  },
};

type Told = {
  readonly kind: 'tls' | 'plain' | 'cancel' | Code;
  readonly sni?: string | undefined;
  readonly client: Address;
  /** What it was answered, and what is left for who comes next. */
  readonly answers: string;
  readonly rest?: Buffer;
};

async function serve(flags: number, pieces: readonly Buffer[]): Promise<Told> {
  let answers = '';
  const socket = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      answers += chunk.toString('latin1');
      done();
    },
  });
  const takesPlain = (flags & expects.plain) !== 0;
  const protocol = flags & expects.postgres ? protocols.postgres : undefined;
  const rules: Rules = {
    name: 'in',
    protocol,
    trustsPeer: () => true,
    allows: () => true,
    takesTls: true,
    takesPlain,
    routes: { find: () => undefined, clear() {} },
  };
  const found = { client: { address: '192.0.2.9', port: 1 } };
  const steps = open(socket as Duplex as Socket, rules, (flags & expects.proxyHeader) !== 0, found).catch(
    (error: unknown) => {
      if (!(error instanceof ProxyError) || error.side !== 'client') throw error;
      return { kind: error.code };
    },
  );
  for (const piece of pieces) {
    socket.push(piece);
    await new Promise(process.nextTick);
    await new Promise(process.nextTick);
  }
  socket.push(null);
  const told = await steps;
  socket.destroy();
  return { ...told, ...found, answers };
}

async function open(socket: Socket, rules: Rules, isProxied: boolean, found: { client: Address }) {
  const peek = new Peek(socket);
  const header = isProxied ? await readProxyHeader(rules, found.client.address, peek) : undefined;
  found.client = header?.client ?? found.client;
  const { kind } = await readOpening(rules, rules.protocol?.meet(rules), peek);
  if (kind === 'plain') enforce(admitPlain(rules));
  const sni = kind === 'tls' ? (await peek.read(createHelloReader())).hello.sni : undefined;
  peek.release();
  const rest: Buffer[] = [];
  for await (const chunk of socket) rest.push(chunk as Buffer);
  return { kind, sni, rest: Buffer.concat(rest) };
}

function checkTold({ kind, rest, answers }: Told, wire: Buffer, isPostgres: boolean): void {
  assert.match(answers, isPostgres ? /^N?S?$/ : /^$/);
  if (rest === undefined) return;
  assert.ok(!kind.startsWith('ERR_'));
  assert.ok(
    wire.subarray(wire.length - rest.length).equals(rest),
    'what is left is not the end of what came',
  );
  if (kind === 'tls') assert.equal(rest[0], 22);
  if (answers.endsWith('S')) assert.equal(kind, 'tls');
}

/** Into pieces of this many bytes, or one less: as many as 20, and the rest. */
function cut(wire: Buffer, size: number): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (let round = 0; round < 20 && at < wire.length; round++) {
    const end = at + Math.max(1, size - (round % 2));
    pieces.push(wire.subarray(at, end));
    at = end;
  }
  return at < wire.length ? [...pieces, wire.subarray(at)] : pieces;
}
