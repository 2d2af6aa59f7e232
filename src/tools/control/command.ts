/** `penstock reload`, `sessions`, `kill`, `drain`, `undrain`, `log-level`: commands on what runs. */
import type { ReloadResult } from '../../observe/admin-source.ts';
import type { CommandResult } from '../../observe/commands.ts';
import type { SessionsFound } from '../../observe/sessions.ts';
import { type AdminAddress, type AdminAnswer, adminAddress, ask, askStatus, type Request } from './ask.ts';
import type { AdminFlags, SessionFlags } from './flags.ts';
import { describeDrain, sessionsTable } from './text.ts';

/**
 * All of them resolve with the exit code: 0, 1 if no penstock answers or it did not do it, 2 if the usage is
 * wrong.
 */
export function reload(flags: AdminFlags): Promise<number> {
  return withPenstock(flags, async (address) => {
    // A reload takes as long as it needs.
    const answer = await ask(address, '/reload', { method: 'POST', patience: Number.POSITIVE_INFINITY });
    const { ok, faults } = bodyOf<ReloadResult>(answer);
    print(flags, { ok, faults }, ok ? 'reloaded\n' : '');
    if (!ok) for (const fault of faults) complain(fault);
    return ok ? 0 : 1;
  });
}

export function sessions({ admin, json, ...filters }: SessionFlags): Promise<number> {
  const flags = { admin, json };
  return withPenstock(flags, async (address) => {
    const found = bodyOf<SessionsFound>(await ask(address, '/sessions', { given: filters }));
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
  { admin }: AdminFlags,
  act: (address: AdminAddress) => Promise<number>,
): Promise<number> {
  const address = await adminAddress(admin);
  if (address === undefined) {
    complain(`--admin ${admin}: expected host:port or unix:/path`);
    return 2;
  }
  try {
    return await act(address);
  } catch (error) {
    complain((error as Error).message);
    return 1;
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
