/**
 * The rest of a login: both sides may speak several times, as the account's plugin wants it, until the server
 * says OK or no. Each counts the packets from a beginning of its own, so we number them anew.
 */
import type { Peek } from '../../peek/peek.ts';
import type { Fault } from '../faults.ts';
import { invalid as serverInvalid } from './greeting.ts';
import { encodePacket, isFinal, type Packet, readPacket, readText } from './packets.ts';
import { invalid as clientInvalid } from './response.ts';

export type Dialogue = {
  readonly client: Peek;
  readonly server: Peek;
  /** The number of the server's next packet, by its own count. */
  readonly next: number;
  /** How far the client's count is ahead. */
  readonly shift: number;
  /** The plugin that the server named last. */
  readonly plugin: string;
  /** Called with the number, by the client's count, of what could be said to it next. */
  readonly note: (number: number) => void;
};

/** Kerberos, PAM and the like take a few packets each; nothing takes as many as this. */
const maxPackets = 100;

/** Returns when the server's last word has been passed on; whatever follows is payload, and was not read. */
export async function carryToTheEnd({
  client,
  server,
  next: first,
  shift,
  plugin,
  note,
}: Dialogue): Promise<void> {
  // It depends on the plugin which side speaks next, so wait for both. These waits hold no bytes.
  const speaks = { client: bytesFrom(client, 'client'), server: bytesFrom(server, 'server') } as const;
  const waits: { client: Promise<Speaker>; server: Promise<Speaker> } = { ...speaks };
  let named = plugin;
  for (let next = first; next < first + maxPackets; next++) {
    const speaker = await Promise.race([waits.server, waits.client]);
    if (speaker === 'client') {
      const { payload } = await take(client, clientInvalid, next + shift);
      note(next + shift + 1);
      server.write(encodePacket(next, payload));
      waits.client = bytesFrom(client, 'client');
      continue;
    }
    const { payload } = await take(server, serverInvalid, next);
    if (isNextFactor(payload, named)) throw serverInvalid(severalFactors);
    named = pluginIn(payload) ?? named;
    client.write(encodePacket(next + shift, payload));
    note(next + shift + 2);
    if (isFinal(payload)) return;
    waits.server = bytesFrom(server, 'server');
  }
  throw serverInvalid(`does not finish a login within ${maxPackets} packets`);
}

type Speaker = 'client' | 'server';

const severalFactors = 'asks for a second factor, which penstock does not carry';

function bytesFrom(peek: Peek, speaker: Speaker): Promise<Speaker> {
  return peek.read((bytes) => (bytes.length > 0 ? speaker : undefined));
}

/** The next packet, complete and consumed; it must have this number. */
export async function take(from: Peek, invalid: Fault, number: number): Promise<Packet> {
  const packet = await from.read((bytes) => readPacket(bytes, invalid));
  if (packet.sequence !== (number & 0xff)) throw invalid('sends packets out of order while it logs in');
  from.drop(packet.length);
  return packet;
}

/** AuthSwitchRequest: 0xfe; string<NUL> plugin; string<EOF> data. */
function pluginIn(payload: Buffer): string | undefined {
  return payload[0] === 0xfe ? readText(payload, 1)?.toString('latin1') : undefined;
}

/** AuthNextFactor: 0x02. MariaDB's PAM dialogue uses the same byte for a question. */
function isNextFactor(payload: Buffer, plugin: string): boolean {
  return payload[0] === 0x02 && plugin !== 'dialog';
}
