/** Reads the secrets for session tickets that several machines share. */
import { basename, join } from 'node:path';
import type { Path, Report } from '../finding.ts';
import type { Files } from '../read/files.ts';
import type { Config } from '../schema/schema.ts';

/**
 * The master secrets of session tickets, each 32 bytes or more. Tickets are issued with `current`; those
 * issued with one of `accepted` resume too. Immutable: other masters are another object.
 */
export type TicketMasters = { readonly current: Uint8Array; readonly accepted: readonly Uint8Array[] };

/**
 * One to issue and two more to accept, so that every machine can know a secret before any of them issues with
 * it.
 */
const most = 3;
/** The lifetime of a session in OpenSSL. */
const sessionLife = 2 * 60 * 60 * 1000;

/** Reads `session_tickets.keys`; undefined if there is none, or after reporting a fault. */
export async function loadTicketKeys(
  { session_tickets: { rotate, keys } }: Config,
  files: Files,
  report: Report,
): Promise<TicketMasters | undefined> {
  if (keys === undefined) {
    if (rotate < sessionLife) {
      const message = 'sessions could be resumed for 2 hours, but after two rotations they no longer can';
      report.warn(['session_tickets', 'rotate'], message);
    }
    return undefined;
  }
  if (files.withoutSecrets) return undefined;
  const path = ['session_tickets', 'keys'];
  const secrets: Buffer[] = [];
  for (const file of await keyFiles(keys, files)) {
    const content = await files.read(file, path, report);
    if (content === undefined) return undefined;
    if (await files.isReadableByOthers(file)) {
      report.warn(path, `${file} can be read by every user of this machine`, `chmod o-r ${file}`);
    }
    const found = parseSecrets(content.toString('latin1'), file, path, report);
    if (found === undefined) return undefined;
    secrets.push(...found);
  }
  const [current, ...accepted] = secrets;
  if (current === undefined) {
    report.fault(path, `${keys} holds no secret`, hint);
    return undefined;
  }
  return { current, accepted: accepted.slice(0, most - 1) };
}

/**
 * The file itself, or the files of a directory, last name first, except hidden ones (such as Kubernetes'
 * `..data`).
 */
async function keyFiles(keys: string, files: Files): Promise<string[]> {
  const names = await files.list(keys);
  if (names === undefined) return [keys];
  const visible = names.filter((name) => !basename(name).startsWith('.')).sort();
  return visible.reverse().map((name) => join(keys, name));
}

const hint =
  'write one secret per line, 32 bytes or more in hex or base64: `openssl rand -hex 32` prints one';

/**
 * One secret per line; empty lines and those that begin with `#` are skipped. Messages never repeat the text
 * of a bad line.
 */
export function parseSecrets(text: string, file: string, path: Path, report: Report): Buffer[] | undefined {
  const secrets: Buffer[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const written = line.trim();
    if (written === '' || written.startsWith('#')) continue;
    const secret = parseSecret(written);
    if (secret === undefined) {
      report.fault(path, `line ${index + 1} of ${file} is not a secret`, hint);
      return undefined;
    }
    secrets.push(secret);
  }
  return secrets;
}

function parseSecret(written: string): Buffer | undefined {
  const isHex = /^([0-9a-f]{2})+$/i.test(written);
  // 32 bytes in hex are also valid base64, but no one means that.
  if (!isHex && !/^[\w+/-]+={0,2}$/.test(written)) return undefined;
  const secret = Buffer.from(written, isHex ? 'hex' : 'base64');
  return secret.length < 32 ? undefined : secret;
}
