/**
 * The health check: a whole login, because servers count a connection that ends earlier against its host, and
 * shut that out after `max_connect_errors`. A login that is refused does not count.
 */
import type { Peek } from '../../peek/peek.ts';
import { unhealthy } from '../faults.ts';
import type { Check, Greeting } from '../protocol.ts';
import { hear, numberOfLogin, ownHead } from './ask.ts';
import { can } from './capabilities.ts';
import { take } from './dialogue.ts';
import { greetingIn } from './greeting.ts';
import { encodePacket, errorCodeIn, isFinal, quit, readText } from './packets.ts';
import { encodeLogin } from './response.ts';

export const check: Check = {
  passesIf: 'it lets the user `penstock` log in, or refuses that user, and is not about to stop',
  run,
};

/** The account need not exist. */
const user = Buffer.from('penstock');

async function run(server: Peek, asked: Greeting | undefined): Promise<Buffer | undefined> {
  const { plugin } = greetingIn(asked ?? (await hear(server)));
  const first = numberOfLogin(asked !== undefined);
  const own = ownHead.readInt32LE(0);
  const login = {
    head: ownHead,
    capabilities: own,
    user,
    database: undefined,
    attributes: Buffer.alloc(0),
    zstdLevel: 0,
  };
  const capabilities = asked ? own | can.ssl : own;
  server.write(encodeLogin(first, login, { capabilities, plugin, proof: emptyProof(plugin) }));
  return (await answered(server, first + 1)) === 'in' ? quit : undefined;
}

/** Whatever the server wants to know, the password is empty. */
async function answered(server: Peek, first: number): Promise<'in' | 'refused'> {
  for (let next = first; next < first + maxPackets; next += 1) {
    const { payload } = await take(server, unhealthy, next);
    if (isFinal(payload)) return payload[0] === 0x00 ? 'in' : judge(errorCodeIn(payload));
    // Fast authentication has succeeded: OK follows by itself.
    if (payload[0] === 0x01 && payload[1] === 0x03 && payload.length === 2) continue;
    next += 1;
    const switched = payload[0] === 0xfe ? readText(payload, 1)?.toString('latin1') : undefined;
    server.write(encodePacket(next, emptyProof(switched)));
  }
  throw unhealthy('does not finish a login');
}

const maxPackets = 20;

/**
 * Those that hash with SHA-256 want a NUL for it, the others nothing. MariaDB counts an answer to its ed25519
 * that is no signature as a broken handshake; a wrong signature it does not count. It asks in these ways for
 * users that do not exist, too.
 */
function emptyProof(plugin: string | undefined): Buffer {
  if (plugin === 'client_ed25519') return Buffer.alloc(64);
  return Buffer.alloc(plugin?.includes('sha') || plugin === 'mysql_clear_password' ? 1 : 0);
}

/** A refusal of the user is as good as a welcome: the server works. */
function judge(code: number): 'refused' {
  if (stopping.has(code)) throw unhealthy(`is starting, stopping or offline (error ${code})`);
  return 'refused';
}

/** ER_SERVER_SHUTDOWN, _NORMAL_SHUTDOWN, _SHUTDOWN_COMPLETE, _SERVER_OFFLINE_MODE, _SERVER_ISNT_AVAILABLE. */
const stopping = new Set([1053, 1077, 1079, 3032, 3168]);
