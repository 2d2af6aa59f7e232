/** As much of the mail protocols as the tests need: what each side says, stand-in servers, and a client that asks for TLS. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { TestContext } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import type { Credential } from './certificates.ts';
import { eventually } from './eventually.ts';
import { rawClient } from './raw-client.ts';
import type { ServerMode, StandIn } from './starttls.ts';
import { tcpUpstream } from './upstream.ts';
import { clientTls, serverTls } from './within-tls.ts';

export const mailNames = ['smtp', 'lmtp', 'imap', 'pop3', 'sieve'] as const;
export type MailName = (typeof mailNames)[number];

type Words = {
  /** What a server says first. */
  readonly greeting: string;
  /** The same, as ManageSieve's clients read it within TLS: again, and no longer offering it. */
  readonly again: string;
  /** What is said before TLS, by a client and by penstock, and the server's answers; the last asks for TLS. */
  readonly asking: readonly (readonly [command: string, reply: string])[];
  /** A command within TLS, and its answer. */
  readonly ping: readonly [command: string, reply: string];
  /** A command that is not taken before TLS, and penstock's answer. */
  readonly early: readonly [command: string, reply: string];
  readonly quit: readonly [command: string, reply: string];
  /** How a server says no to the last of `asking`, and ahead of everything. */
  readonly no: string;
  readonly turnedAway: string;
  /** What penstock says within TLS if no server can be had. */
  readonly unreachable: RegExp;
};

function smtp(hello: string): Words {
  return {
    greeting: '220-mx.example server\r\n220 ready\r\n',
    again: '',
    asking: [
      [`${hello} [127.0.0.1]\r\n`, '250-mx.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n'],
      ['STARTTLS\r\n', '220 go\r\n'],
    ],
    ping: ['NOOP\r\n', '250 server\r\n'],
    early: ['MAIL FROM:<a@b.example>\r\n', '530 5.7.0 Must issue a STARTTLS command first\r\n'],
    quit: ['QUIT\r\n', '221 2.0.0 Bye\r\n'],
    no: '454 4.7.0 TLS not available\r\n',
    turnedAway: '554 no service\r\n',
    unreachable: /^421 4\.3\.2 The server behind this proxy cannot be reached \(connection \S+\)\r\n$/,
  };
}

export const mailWords: Readonly<Record<MailName, Words>> = {
  smtp: smtp('EHLO'),
  lmtp: smtp('LHLO'),
  imap: {
    greeting: '* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] server\r\n',
    again: '',
    asking: [['a STARTTLS\r\n', '* STATUS\r\na OK go\r\n']],
    ping: ['x NOOP\r\n', 'x OK server\r\n'],
    early: ['x LOGIN a b\r\n', 'x NO [PRIVACYREQUIRED] Must issue a STARTTLS command first\r\n'],
    quit: ['$& LOGOUT\r\n', '* BYE\r\n$& OK LOGOUT completed\r\n'],
    no: 'a NO not now\r\n',
    turnedAway: '* BYE too many\r\n',
    unreachable:
      /^\* BYE \[UNAVAILABLE\] The server behind this proxy cannot be reached \(connection \S+\)\r\n$/,
  },
  pop3: {
    greeting: '+OK server <1.2@mx.example>\r\n',
    again: '',
    asking: [['STLS\r\n', '+OK go\r\n']],
    ping: ['NOOP\r\n', '+OK server\r\n'],
    early: ['USER anna\r\n', '-ERR Must issue a STLS command first\r\n'],
    quit: ['QUIT\r\n', '+OK Bye\r\n'],
    no: '-ERR not now\r\n',
    turnedAway: '-ERR [SYS/TEMP] too many\r\n',
    unreachable: /^-ERR \[SYS\/TEMP\] The server behind this proxy cannot be reached \(connection \S+\)\r\n$/,
  },
  sieve: {
    greeting: '"IMPLEMENTATION" "server"\r\n"SASL" "PLAIN"\r\n"STARTTLS"\r\nOK "ready"\r\n',
    again: '"IMPLEMENTATION" "server"\r\n"SASL" "PLAIN"\r\nOK "ready"\r\n',
    asking: [['STARTTLS\r\n', 'OK "go"\r\n']],
    ping: ['NOOP\r\n', 'OK "server"\r\n'],
    early: ['AUTHENTICATE "PLAIN"\r\n', 'NO (ENCRYPT-NEEDED) "Must issue a STARTTLS command first."\r\n'],
    quit: ['LOGOUT\r\n', 'OK "Bye."\r\n'],
    no: 'NO "not now"\r\n',
    turnedAway: 'BYE "too many"\r\n',
    unreachable: /^BYE \(TRYLATER\) "The server behind this proxy cannot be reached \(connection \S+\)"\r\n$/,
  },
};

/** Answers what `mailWords` has, in pieces of one byte, and nothing else. */
export async function mailServer(
  t: TestContext,
  name: MailName,
  mode: ServerMode,
  credential: Credential,
): Promise<StandIn> {
  const { greeting, again, asking, ping } = mailWords[name];
  let accepted = 0;
  let got = '';
  let within = '';
  const serve = (stream: Socket, said: string) => {
    stream.on('error', () => {});
    stream.on('end', () => stream.end());
    stream.write(said);
    stream.on('data', (data) => {
      within += data;
      if (String(data).includes(ping[0])) stream.write(ping[1]);
    });
  };
  const { port } = await tcpUpstream(t, (socket) => {
    accepted++;
    if (mode === 'first') return serve(serverTls(socket, credential), greeting);
    if (mode === 'plain') return serve(socket, greeting);
    const left = [...asking];
    inPieces(socket, greeting);
    socket.on('data', (data) => {
      got += data;
      const [command, reply] = left[0] ?? ['', ''];
      if (command === '' || !got.endsWith(command)) return;
      left.shift();
      if (left.length > 0) return inPieces(socket, reply);
      socket.removeAllListeners('data');
      socket.write(reply);
      serve(serverTls(socket, credential), again);
    });
  });
  return { port, accepted: () => accepted, got: () => got, within: () => within };
}

function inPieces(socket: Socket, text: string): void {
  for (const byte of text) socket.write(byte);
}

/** Reads the greeting, and asks for TLS as its clients do; the socket is ready for a ClientHello. */
export async function askedForTls(t: TestContext, name: MailName, port: number): Promise<Socket> {
  const { socket, received } = rawClient(t, port, { allowHalfOpen: false });
  let seen = 0;
  const answered = async () => {
    await eventually(() => {
      const said = received().toString().slice(seen);
      if (!endOf[name].test(said)) throw new Error(`no answer in ${JSON.stringify(said)}`);
    });
    seen = received().length;
  };
  await answered();
  for (const [command] of mailWords[name].asking) {
    socket.write(command);
    await answered();
  }
  socket.removeAllListeners('data');
  return socket;
}

const endOf: Readonly<Record<MailName, RegExp>> = {
  smtp: /^(\d{3}-.*\r\n)*\d{3} .*\r\n$/,
  lmtp: /^(\d{3}-.*\r\n)*\d{3} .*\r\n$/,
  imap: /^(\* .*\r\n)*((\* OK|a (OK|NO|BAD)) .*\r\n)$/,
  pop3: /^(\+OK|-ERR)( .*)?\r\n$/,
  sieve: /^(".*\r\n)*(OK|NO|BYE)( .*)?\r\n$/,
};

/** All that a client reads within TLS, up to the answer to its ping. */
export async function pinged(
  t: TestContext,
  name: MailName,
  socket: Socket,
  options: object = {},
): Promise<string> {
  const { ping, again } = mailWords[name];
  const stream = within(t, socket, options);
  await once(stream.stream, 'secureConnect');
  await eventually(() => {
    if (stream.text().length < again.length) throw new Error(`no greeting: ${stream.text()}`);
  });
  stream.stream.write(ping[0]);
  await eventually(() => {
    if (!stream.text().endsWith(ping[1])) throw new Error(`no answer in ${JSON.stringify(stream.text())}`);
  });
  return stream.text();
}

/** TLS on a socket, and what is read in it. */
export const within = (t: TestContext, socket: Socket, options: ConnectionOptions = {}) =>
  clientTls(t, socket, { servername: 'mail.example', ...options });
