/**
 * MySQL clients. The server speaks first, but we dial none for a client that we know nothing about: so we
 * greet clients in its place, and have them prove themselves again once the server has said its nonce.
 */
import type { Peek } from '../../peek/peek.ts';
import type { Meeting, Sides, Terms } from '../protocol.ts';
import { askWith, numberOfLogin } from './ask.ts';
import { can, onTheWire } from './capabilities.ts';
import { carryToTheEnd, take } from './dialogue.ts';
import { encodeGreeting, greetingIn, type ServerGreeting, invalid as serverInvalid } from './greeting.ts';
import { cancellingOf } from './kill.ts';
import { knownOf, learn } from './known.ts';
import { lastWords } from './refusals.ts';
import { encodeLogin, headWith, invalid, type Login, readAnswer } from './response.ts';
import { nextThreadId } from './thread-ids.ts';

export function meet(terms: Terms): Meeting {
  const { takesTls = true } = terms;
  const { version, capabilities } = knownOf(terms);
  const offered = takesTls ? capabilities : capabilities & ~can.ssl;
  const client: Client = {
    offered,
    threadId: nextThreadId(),
    request: undefined,
    login: undefined,
    isAsked: false,
    number: 2,
    serverThreadId: undefined,
  };
  return {
    greets: true,
    async accept(peek) {
      peek.write(encodeGreeting({ version, threadId: client.threadId, capabilities: offered }));
      const answer = await peek.read((bytes) => readAnswer(bytes, 1));
      if (answer.kind === 'login') {
        client.login = answer.login;
        return { kind: 'plain' };
      }
      if (!takesTls) throw invalid('asks for TLS, which was not offered');
      client.request = Buffer.from(answer.head);
      client.number = 3;
      peek.drop(answer.length);
      return { kind: 'tls' };
    },
    async within(peek) {
      const answer = await peek.read((bytes) => readAnswer(bytes, 2));
      if (answer.kind === 'ssl_request') throw invalid('asks for TLS within TLS');
      client.login = answer.login;
      return { kind: 'tls' };
    },
    ask(server) {
      client.isAsked = true;
      const { head, capabilities: taken } = loginOf(client);
      return askWith(server, headWith(head, taken & offered));
    },
    announce: (server) => announce(server, client),
    join: (sides) => join(sides, client, (greeting) => learn(terms, greeting)),
    cancelling: cancellingOf(client),
    refuse: (why) => lastWords(why, client.number),
  };
}

/** One client, as far as it has come. */
export type Client = {
  readonly offered: number;
  /** As it was greeted with. */
  readonly threadId: number;
  /** What it began its request for TLS with. */
  request: Buffer | undefined;
  login: Login | undefined;
  /** Whether its server was asked for TLS. */
  isAsked: boolean;
  /** The number that it expects of our next packet. */
  number: number;
  /** What its server calls the session, once it is logged in. */
  serverThreadId: number | undefined;
};

function loginOf({ login }: Client): Login {
  if (login === undefined) throw new Error('a MySQL server is dialled before its client has logged in');
  return login;
}

/** The client's own request, less what we have not offered to it. */
async function announce(server: Peek, { request, offered }: Client): Promise<unknown> {
  if (request === undefined) throw new Error('a MySQL client is passed through that has not asked for TLS');
  return askWith(server, headWith(request, request.readInt32LE(0) & offered));
}

/** Until the server says OK, or refuses the login in its own words. */
async function join(
  { client: peek, server, greeting }: Sides,
  client: Client,
  heard: (greeting: ServerGreeting) => void,
): Promise<void> {
  if (greeting === undefined) throw new Error('the greeting of a MySQL server was not read');
  const greeted = greetingIn(greeting);
  heard(greeted);
  const { isAsked, offered, number } = client;
  const login = loginOf(client);
  const taken = login.capabilities & offered & ~can.ssl;
  if (taken & onTheWire & ~greeted.capabilities) {
    throw serverInvalid('lacks what its client was offered by the greeting in its place');
  }
  // It was left unread, so that a server that is slow to answer does not cost us its bytes.
  await take(peek, invalid, number - 1);
  const first = numberOfLogin(isAsked);
  const capabilities = isAsked ? taken | can.ssl : taken;
  server.write(encodeLogin(first, login, { capabilities, plugin: unknownPlugin, proof: noProof }));
  await carryToTheEnd({
    client: peek,
    server,
    next: first + 1,
    shift: number - (first + 1),
    plugin: unknownPlugin,
    note(next) {
      client.number = next;
    },
  });
  client.serverThreadId = greeted.threadId;
}

/**
 * A server that does not know the plugin of a login asks for the account's own, by its nonce
 * (AuthSwitchRequest). So it says itself what we cannot know, and the client is asked only once: MySQL's own
 * library takes no second such request.
 */
const unknownPlugin = 'penstock';
const noProof = Buffer.alloc(0);
