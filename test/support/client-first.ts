/** As much of the protocols in which clients speak first, and ask for TLS, as the tests need: what each side says, and stand-ins. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TestContext } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import { ownOptions } from '../../src/protocols/mssql/ask.ts';
import { encodePrelogin } from '../../src/protocols/mssql/prelogin.ts';
import type { Carrier } from '../../src/protocols/protocol.ts';
import { protocols } from '../../src/protocols/table.ts';
import type { Credential } from './certificates.ts';
import { eventually } from './eventually.ts';
import { rawClient } from './raw-client.ts';
import type { ServerMode, StandIn } from './starttls.ts';
import { tcpUpstream } from './upstream.ts';
import { clientTls, serverTls } from './within-tls.ts';

export const clientFirstNames = ['ldap', 'xmpp', 'xmpp-server', 'mssql'] as const;
export type ClientFirstName = (typeof clientFirstNames)[number];

/** Bytes are characters of latin1. Patterns are of what `shown` makes of them. */
type Words = {
  /** What a client says, and how penstock answers; the last asks for TLS. */
  readonly asks: readonly (readonly [request: string, answer: RegExp])[];
  /** The answer to the request for TLS, which must not come otherwise. */
  readonly granted: RegExp;
  /** What penstock says to a server, and how that answers. */
  readonly heard: readonly (readonly [request: string, answer: string])[];
  /** What is not taken before TLS, with all that penstock answers to it, and the code. */
  readonly early: readonly (readonly [what: string, says: string, answer: RegExp, code: string])[];
  /** How a client leaves, and what it hears; absent if it only hangs up. */
  readonly quit?: readonly [says: string, answer: RegExp];
  /** What penstock says to a server that is not asked for TLS, and its answer. */
  readonly unasked?: readonly [request: string, answer: string];
  /** If TLS is carried by packets of the protocol. */
  readonly carrier?: Carrier;
  /** A server's other answers to the request for TLS. */
  readonly noes: readonly string[];
  /** What a server may say first of all, to turn everybody away. */
  readonly turnedAway: string;
  /** Parts of answers that never end. */
  readonly endless: string;
  /** What penstock says within TLS if no server can be had. */
  readonly unreachable: RegExp;
  /** A server's answer to its health check, a part of penstock's goodbye, and an answer of one that is not well. */
  readonly check: readonly [answer: string, goodbye: string, unwell: string];
};

const hex = (text: string): string => Buffer.from(text.replaceAll(' ', ''), 'hex').toString('latin1');
const oid = (last: string): string => `1.3.6.1.4.1.1466.${last}`;
const startTls = (id: string): string => hex(`30 1d 02 01 ${id} 77 18 80 16`) + oid('20037');

const ldap: Words = {
  asks: [[startTls('07'), /^0~0c~02~01~07x~07~0a~01~00~04~00~04~00$/]],
  granted: /x~07~0a~01~00/,
  heard: [[startTls('01'), hex('30 0c 02 01 01 78 07 0a 01 00 04 00 04 00')]],
  early: [
    [
      'ten binds',
      hex('30 0c 02 01 05 60 07 02 01 03 04 00 80 00').repeat(12),
      // bindResponse with confidentialityRequired, and a Notice of Disconnection
      /^(0&~02~01~05a!~0a~01~0d~04~00~04~1aStartTLS is required first){10}0.{1,3}~02~01~00x.{1,3}~0a~01~0d.*20036$/,
      'ERR_STARTTLS_REQUIRED',
    ],
  ],
  quit: [hex('30 05 02 01 02 42 00'), /^$/],
  noes: [hex('30 0c 02 01 01 78 07 0a 01 02 04 00 04 00'), hex('30 0c 02 01 01 78 07 0a 01 34 04 00 04 00')],
  turnedAway: `${hex('30 24 02 01 00 78 1f 0a 01 34 04 00 04 00 8a 16')}${oid('20036')}`,
  endless: hex('30 84 00 10 00 00'),
  unreachable:
    /^0.{1,6}~02~01~00x.{1,6}~0a~014.*cannot be reached \(connection \S+\)~8a~161\.3\.6\.1\.4\.1\.1466\.20036$/,
  check: [
    hex('30 09 02 01 01 64 04 04 00 30 00 30 0c 02 01 01 65 07 0a 01 00 04 00 04 00'),
    hex('30 05 02 01 02 42 00'),
    hex('30 0c 02 01 01 65 07 0a 01 34 04 00 04 00'),
  ],
};

const streams = "xmlns:stream='http://etherx.jabber.org/streams'";
const tls = "xmlns='urn:ietf:params:xml:ns:xmpp-tls'";
const errors = "xmlns='urn:ietf:params:xml:ns:xmpp-streams'";

function xmpp(content: string): Words {
  const starttls = `<starttls ${tls}/>`;
  const begun = `<?xml version='1.0'?><stream:stream id='x' from='xmpp.example' version='1.0' xmlns='${content}' ${streams}>`;
  const failed = (condition: string) =>
    `<stream:error><${condition} ${errors}/></stream:error></stream:stream>`;
  const featured = `<stream:features><starttls ${tls}><required/></starttls></stream:features>`;
  const answered = new RegExp(
    `^<\\?xml version='1.0'\\?><stream:stream id='[\\w-]{12}' from='xmpp.example' version='1.0' xmlns='${content}' ${streams}>${featured}$`,
  );
  const asked = `<?xml version="1.0"?>\n<stream:stream to="xmpp.example" version="1.0" xmlns="${content}"\n xml:lang='en' ${streams} >`;
  return {
    asks: [
      [asked, answered],
      [
        `<tls:starttls xmlns:tls='urn:ietf:params:xml:ns:xmpp-tls'></tls:starttls>`,
        new RegExp(`<proceed ${tls}/>$`),
      ],
    ],
    granted: /<proceed/,
    heard: [
      [
        `<?xml version='1.0'?><stream:stream to='xmpp.example' version='1.0' xmlns='${content}' ${streams}>`,
        `${begun}<stream:features>\n<starttls ${tls}/><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>`,
      ],
      [starttls, `<proceed ${tls}/>`],
    ],
    early: [
      [
        'a stanza',
        `${asked} <iq type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>`,
        /<stream:error><policy-violation .*TLS is required here<\/text><\/stream:error><\/stream:stream>$/s,
        'ERR_STARTTLS_REQUIRED',
      ],
      [
        'a stream of another kind',
        asked.replace(content, 'jabber:component:accept'),
        /^<\?xml version='1.0'\?><stream:stream id='.{12}' .*<invalid-namespace /s,
        'ERR_STARTTLS_INVALID',
      ],
      [
        'a stream of an old kind',
        asked.replace('version="1.0" xmlns', 'xmlns'),
        /<unsupported-version /,
        'ERR_STARTTLS_INVALID',
      ],
      [
        'markup for a name',
        asked.replace('xmpp.example', "a'b"),
        /<improper-addressing /,
        'ERR_STARTTLS_INVALID',
      ],
      ['a document type', `<!DOCTYPE x [<!ENTITY a "b">]>${asked}`, /<bad-format /, 'ERR_STARTTLS_INVALID'],
    ],
    quit: [`${asked}</stream:stream>`, /<\/stream:features><\/stream:stream>$/],
    noes: [`<failure ${tls}/></stream:stream>`, failed('policy-violation')],
    turnedAway: begun + failed('host-unknown'),
    endless: `${begun}<stream:features>${'<a b="c">'.repeat(20)}`,
    unreachable:
      /^<\?xml version='1.0'\?><stream:stream .*<remote-connection-failed .*cannot be reached \(connection \S+\)<\/text><\/stream:error><\/stream:stream>$/s,
    check: [`${begun}${featured}`, '</stream:stream>', begun + failed('system-shutdown')],
  };
}

const prelogin = (type: number, wish: number): string =>
  encodePrelogin(type, new Map([...ownOptions, [1, Buffer.of(wish)]])).toString('latin1');

const mssql: Words = {
  asks: [[prelogin(0x12, 1), /^~04~01.*~ff~10~00~03~e8~00~00~01~00~00$/]],
  granted: /^~04/,
  heard: [[prelogin(0x12, 1), prelogin(0x04, 1)]],
  unasked: [prelogin(0x12, 2), prelogin(0x04, 2)],
  carrier: protocols.mssql.carrier,
  early: [
    [
      'no wish for TLS',
      prelogin(0x12, 2),
      /^~04~01.*~ff~10~00~03~e8~00~00~03~00~00$/,
      'ERR_STARTTLS_REQUIRED',
    ],
    [
      'a login',
      hex('10 01 00 09 00 00 01 00 00'),
      /^~04~01.*~aa.*T~00L~00S~00 ~00i~00s~00/,
      'ERR_STARTTLS_REQUIRED',
    ],
    ['a message without its end', hex('12 00 00 09 00 00 01 00 ff'), /^$/, 'ERR_STARTTLS_INVALID'],
  ],
  noes: [prelogin(0x04, 2), prelogin(0x04, 0)],
  turnedAway: prelogin(0x04, 2),
  endless: hex('04 01 ff ff 00 00 01 00'),
  unreachable:
    /^~04~01.*~aa.*c~00a~00n~00n~00o~00t~00 ~00b~00e~00 ~00r~00e~00a~00c~00h~00e~00d~00.*~fd~02(~00){11}$/,
  check: [prelogin(0x04, 2), '', hex('04 01 00 0a 00 00 01 00 00 00')],
};

export const clientFirstWords: Readonly<Record<ClientFirstName, Words>> = {
  ldap,
  xmpp: xmpp('jabber:client'),
  'xmpp-server': xmpp('jabber:server'),
  mssql,
};

/** Answers requests for TLS in pieces of one byte, and within TLS (or without any) by `answer`, or by what it was told. */
export async function askedServer(
  t: TestContext,
  name: ClientFirstName,
  mode: ServerMode,
  credential: Credential,
  answer?: string,
): Promise<StandIn> {
  const { heard, unasked, carrier } = clientFirstWords[name];
  let accepted = 0;
  let got = '';
  let within = '';
  const serve = (stream: Socket) => {
    stream.on('error', () => {});
    stream.on('end', () => stream.end());
    stream.on('data', (data: Buffer) => {
      if (answer === undefined && data.toString('latin1') === unasked?.[0])
        return void stream.write(unasked[1], 'latin1');
      within += data.toString('latin1');
      stream.write(answer === undefined ? data : Buffer.from(answer, 'latin1'));
    });
  };
  const { port } = await tcpUpstream(t, (socket) => {
    accepted++;
    if (mode === 'first') return serve(serverTls(socket, credential));
    if (mode === 'plain') return serve(socket);
    const left = [...heard];
    let seen = '';
    socket.on('data', (data: Buffer) => {
      got += data.toString('latin1');
      seen += data.toString('latin1');
      const [request, reply] = left[0] ?? ['', ''];
      if (seen !== request) return;
      seen = '';
      left.shift();
      if (left.length === 0) socket.removeAllListeners('data');
      // The last byte of the last answer must be sent before the handshake is read.
      for (const byte of reply) socket.write(byte, 'latin1');
      if (left.length === 0) serve(serverTls(carrier ? carrier.over(socket) : socket, credential));
    });
  });
  return { port, accepted: () => accepted, got: () => got, within: () => within };
}

/** Asks for TLS as its clients do; TLS is to be spoken over what is returned. */
export async function askedForTls(t: TestContext, name: ClientFirstName, port: number): Promise<Duplex> {
  const { socket, received } = rawClient(t, port, { allowHalfOpen: false });
  let seen = 0;
  for (const [request, answer] of clientFirstWords[name].asks) {
    for (const byte of request) socket.write(byte, 'latin1');
    await eventually(() => {
      const said = received().toString('latin1').slice(seen);
      if (!answer.test(shown(said))) throw new Error(`no answer in ${JSON.stringify(said)}`);
    });
    seen = received().length;
  }
  socket.removeAllListeners('data');
  const { carrier } = clientFirstWords[name];
  return carrier ? carrier.over(socket) : socket;
}

/** Bytes other than printable ASCII as `~0a`. */
export function shown(bytes: string): string {
  return bytes.replace(/[^ -~]/g, (byte) => `~${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** All that a client reads within TLS from a server that echoes. */
export async function echoed(t: TestContext, socket: Duplex, options: object = {}): Promise<string> {
  const { stream, text } = withinTls(t, socket, options);
  await once(stream, 'secureConnect');
  stream.write('ping');
  await eventually(() => {
    if (!text().endsWith('ping')) throw new Error(`no answer in ${JSON.stringify(text())}`);
  });
  return text();
}

/** TLS on a socket, and what is read in it. */
export const withinTls = (t: TestContext, socket: Duplex, options: ConnectionOptions = {}) =>
  clientTls(t, socket, { servername: 'xmpp.example', ...options });
