/** Clients of SQL Server: their PRELOGIN is answered in the server's place, before one is chosen for them. */
import { contentTypes } from '../../peek/records.ts';
import { clientFault, type Fault, onlyFor, plainText, stuffed } from '../faults.ts';
import type { Carrier, Meeting, Opening, Refusal, Terms } from '../protocol.ts';
import { reasonFor } from '../refusals.ts';
import { ask, askForNone } from './ask.ts';
import { encodeError, type Packet, readPacket, types } from './packets.ts';
import { encodePrelogin, encryption, encryptionIn, type Options, options, optionsIn } from './prelogin.ts';

export function meet({ takesPlain, takesTls = true, takesGlued = false }: Terms, carrier: Carrier): Meeting {
  /** What the client has said of itself; undefined if it began with TLS (TDS 8), or with its login. */
  let said: Options | undefined;
  let isCarried = false;
  return {
    // Without TLS, too, the PRELOGIN is ours to answer: the server gets it in our words.
    greets: true,
    get carrier() {
      return isCarried ? carrier : undefined;
    },
    async accept(client): Promise<Opening> {
      const first = await client.read(readFirst);
      if (first === 'tls') return { kind: 'tls' };
      if (first.type === types.login) {
        if (!takesPlain) throw plainText('TDS', tlsHint);
        return { kind: 'plain' };
      }
      said = optionsOf(first);
      client.drop(first.length);
      if (client.length > 0 && !takesGlued) throw stuffed('CVE-2021-23222');
      const wish = encryptionIn(said);
      isCarried = takesTls && !(wish === encryption.none && takesPlain);
      if (isCarried && wish === encryption.none) throw plainText('TDS', tlsHint);
      client.write(answerTo(said, isCarried ? grants[wish] : encryption.none));
      return { kind: isCarried ? 'tls' : 'plain' };
    },
    ask: (server) => ask(server, said),
    announce: async (server) => said && ask(server, said),
    hear: async (server) => said && askForNone(server, said),
    refuse: (why) => lastWords(why, said),
  };
}

/** A packet, or the first byte of a ClientHello, which no packet begins with. */
export function readFirst(bytes: Buffer): Packet | 'tls' | undefined {
  return bytes[0] === contentTypes.handshake
    ? 'tls'
    : readPacket(bytes, [types.prelogin, types.login], invalid);
}

/** What a client says of itself. */
export function optionsOf({ isLast, payload }: Packet): Options {
  const found = isLast ? optionsIn(payload) : undefined;
  if (found === undefined) throw invalid('sends a malformed PRELOGIN');
  return found;
}

/** What TLS is granted by, for each wish. Whoever wants it for the login only needs to hear `required`. */
const grants: Readonly<Record<number, number | undefined>> = {
  [encryption.off]: encryption.required,
  [encryption.on]: encryption.on,
  [encryption.required]: encryption.on,
};

/** Only what suits every server. Servers have several sessions on a connection (MARS) since 2005. */
function answerTo(said: Options, granted: number = encryption.required): Buffer {
  return encodePrelogin(
    types.answer,
    new Map([
      [options.version, Buffer.from([16, 0, 0x03, 0xe8, 0, 0])],
      [options.encryption, Buffer.of(granted)],
      [options.instance, Buffer.alloc(1)],
      [options.thread, Buffer.alloc(0)],
      [options.mars, Buffer.of(said.get(options.mars)?.[0] === 1 ? 1 : 0)],
    ]),
  );
}

function lastWords(why: Refusal, said: Options | undefined): Buffer | undefined {
  const reason = reasonFor(why);
  if (reason === 'needs_tls') {
    return said ? answerTo(said) : encodeError(notAvailable, 'TLS is required here');
  }
  if (said === undefined) return undefined;
  if (reason === 'full') {
    return encodeError(tooMany, 'Too many connections to the server behind this proxy');
  }
  if (reason !== 'unreachable') return undefined;
  return encodeError(notAvailable, `The server behind this proxy cannot be reached (connection ${why.conn})`);
}

/** "Could not connect because the maximum number of '…' user connections has already been reached." */
const tooMany = 17809;
/** "Database '…' on server '…' is not currently available. Please retry the connection later." */
const notAvailable = 40613;

export const invalid: Fault = clientFault(onlyFor('mssql'));

export const tlsHint = 'connect with Encrypt=True (mandatory), or strict with TDS 8';
