/** `penstock reload`, `sessions`, `kill`, `drain`, `undrain`, `log-level`: commands on what runs. */
import type { ReloadResult } from '../../observe/admin-source.ts';
import type { CommandResult, Fault } from '../../observe/commands.ts';
import type { SessionsFound } from '../../observe/sessions.ts';
import { UsageError } from '../terminal/usage.ts';
import { type AdminAddress, adminAddress } from './admin-address.ts';
import { type AdminAnswer, ask, askStatus, type Request } from './ask.ts';
import type { AdminFlags, SessionFlags } from './flags.ts';
import { describeDrain, describeReload, sessionsTable } from './text.ts';

/**
 * All of them resolve with the exit code: 0, 1 if no penstock answers or it did not do it, 2 if the usage is
 * wrong.
 */
export function reload(flags: AdminFlags): Promise<number> {
  return withPenstock(flags, async (address) => {
    // A reload takes as long as it needs.
    const answer = await ask(address, '/reload', { method: 'POST', patience: Number.POSITIVE_INFINITY });
    const result = bodyOf<ReloadResult>(answer);
    print(flags, result, result.ok ? describeReload(result) : '');
    for (const fault of result.faults) complain(fault);
    if (!flags.json) for (const warning of result.warnings ?? []) process.stderr.write(`${warning}\n`);
    return result.ok ? 0 : 1;
  });
}

export function sessions({ admin, config, json, ...filters }: SessionFlags): Promise<number> {
  const flags = { admin, config, json };
  return withPenstock(flags, async (address) => {
    const found = bodyOf<SessionsFound | Fault>(await ask(address, '/sessions', { given: filters }));
    if ('fault' in found) return tell(flags, found, () => '');
    print(flags, found, sessionsTable(found, process.stdout.columns));
    return 0;
  });
}

export function kill(conns: readonly string[], flags: AdminFlags): Promise<number> {
  return withPenstock(flags, async (address) => {
    const results: CommandResult[] = [];
    for (const conn of conns) results.push(await command(address, '/kill', { conn }));
    print(flags, results, '');
    for (const [index, result] of results.entries()) {
      if (!result.ok) complain(result.fault);
      else if (!flags.json) process.stdout.write(`${conns[index]} ended\n`);
    }
    return results.every(({ ok }) => ok) ? 0 : 1;
  });
}

export function drain(place: string, flags: AdminFlags): Promise<number> {
  return changeDrain('/drain', place, flags);
}

export function undrain(place: string, flags: AdminFlags): Promise<number> {
  return changeDrain('/undrain', place, flags);
}

export function logLevel(level: string | undefined, flags: AdminFlags): Promise<number> {
  return withPenstock(flags, async (address) => {
    if (level === undefined) {
      const { log_level } = await askStatus(address);
      print(flags, { level: log_level }, `${log_level}\n`);
      return 0;
    }
    return tell(flags, await command(address, '/log-level', { level }), (result) => `${result['level']}\n`);
  });
}

function changeDrain(path: string, place: string, flags: AdminFlags): Promise<number> {
  const [upstream = '', ...rest] = place.split('/');
  const endpoint = rest.length === 0 ? undefined : rest.join('/');
  return withPenstock(flags, async (address) =>
    tell(flags, await command(address, path, { upstream, endpoint }), (result) =>
      describeDrain(place, result, path === '/drain'),
    ),
  );
}

async function withPenstock(
  flags: AdminFlags,
  act: (address: AdminAddress) => Promise<number>,
): Promise<number> {
  try {
    return await act(await adminAddress(flags));
  } catch (error) {
    complain((error as Error).message);
    return error instanceof UsageError ? 2 : 1;
  }
}

async function command(address: AdminAddress, path: string, given: Request['given']): Promise<CommandResult> {
  return bodyOf<CommandResult>(await ask(address, path, { method: 'POST', given }));
}

/** The answer of a penstock that did what it was asked, or says why not; throws an Error if it is none. */
function bodyOf<T extends object>({ status, body }: AdminAnswer): T {
  if ((status === 200 || status === 422) && typeof body === 'object' && body !== null) return body as T;
  throw new Error(`it answers ${status}: ${String(body).slice(0, 300)}`);
}

function tell(
  flags: AdminFlags,
  result: CommandResult,
  describe: (done: Extract<CommandResult, { ok: true }>) => string,
): number {
  print(flags, result, result.ok ? describe(result) : '');
  if (!result.ok) complain(result.fault);
  return result.ok ? 0 : 1;
}

function print({ json }: AdminFlags, value: unknown, text: string): void {
  process.stdout.write(json ? `${JSON.stringify(value, null, 2)}\n` : text);
}

function complain(text: string): void {
  process.stderr.write(`penstock: ${text}\n`);
}
