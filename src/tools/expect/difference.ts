/**
 * `penstock import --diff`: which clients of a file get another outcome from a configuration of penstock's
 * than from what the import makes of the old proxy's.
 */
import { readFileSync } from 'node:fs';
import { ConfigError, formatFinding } from '../../config/finding.ts';
import { type LoadedConfig, loadText, sharedText } from '../../config/load.ts';
import { loadConfig } from '../../config/sources/file.ts';
import { systemCode } from '../../errors.ts';
import { createExplainer, type Explanation } from '../explain/explanation.ts';
import { importText } from '../import/command.ts';
import { kindOf } from '../import/kind-of.ts';
import { ImportError } from '../import/result.ts';
import { harmless } from '../terminal/text.ts';
import { type Case, loadCases } from './cases.ts';
import { clientsSchema } from './schema.ts';

/**
 * Prints a line for each client with another outcome, and a summary. Resolves with the exit code: 0; 1 if
 * there is one, or a client of whom too little is said; 2 for a file that cannot be read or has faults.
 */
export async function diff(old: string, file: string, cases: string): Promise<number> {
  try {
    const before = await loadImported(old);
    const after = await loadConfig(file);
    const { cases: clients } = await loadCases(cases, after, clientsSchema);
    const [theirs, ours] = [createExplainer(before.loaded), createExplainer(after)];
    const lines: string[] = [];
    for (const one of clients) {
      const listener = counterpart(one, before.loaded, after);
      const was = listener === undefined ? undefined : await theirs.explain(listener, one.client);
      const is = await ours.explain(one.listener, one.client);
      const change = changeBetween(was, is, old, file);
      const { line, column } = one.place();
      if (change !== undefined) lines.push(`${cases}:${line}:${column} (${one.name}): ${change}`);
    }
    await Promise.all([theirs.close(), ours.close()]);
    const count = `${clients.length} ${clients.length === 1 ? 'client' : 'clients'}`;
    lines.push(
      lines.length === 0
        ? `${count}, all with the same outcome`
        : `${count}, ${lines.length} with another outcome`,
    );
    if (before.lost > 0) {
      lines.push(
        `${before.lost} not carried over from ${old}: clients that this may concern count as refused there; see \`penstock import\``,
      );
    }
    process.stdout.write(lines.map((line) => `${harmless(line)}\n`).join(''));
    return lines[0]?.startsWith(`${cases}:`) ? 1 : 0;
  } catch (error) {
    if (error instanceof ConfigError) {
      for (const finding of error.findings) process.stderr.write(`${formatFinding(finding)}\n`);
    } else if (error instanceof ImportError) process.stderr.write(`${error.message}\n`);
    else throw error;
    return 2;
  }
}

async function loadImported(file: string): Promise<{ loaded: LoadedConfig; lost: number }> {
  const text = readOld(file);
  const kind = kindOf(text);
  if (kind === undefined)
    throw new ImportError(`${file}: it is no configuration that \`penstock import\` knows`);
  const { yaml, notes } = importText(kind, { file, text });
  const loaded = await loadText({
    text: sharedText(Buffer.from(yaml)),
    name: `${file}, imported`,
    directory: process.cwd(),
  });
  return { loaded, lost: notes.filter((note) => note.kind === 'not_carried').length };
}

function readOld(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ImportError(`${file}: it cannot be read (${systemCode(error)})`);
  }
}

/** The listener that is bound to the same port, or else has the same name. */
function counterpart({ listener }: Case, before: LoadedConfig, after: LoadedConfig): string | undefined {
  const portsOf = (addresses: readonly string[]) =>
    addresses.map((address) => address.replace(/^.*:(?=\d+$)/, ''));
  const ports = portsOf(after.config.listeners[listener]?.bind ?? []);
  const all = Object.entries(before.config.listeners);
  const same = all.find(([, { bind }]) => portsOf(bind).some((port) => ports.includes(port)));
  return same?.[0] ?? all.find(([name]) => name === listener)?.[0];
}

function changeBetween(
  was: Explanation | undefined,
  is: Explanation,
  old: string,
  file: string,
): string | undefined {
  const unsaid = [...new Set([...(was?.undecided ?? []), ...is.undecided])];
  if (unsaid.length > 0) return `it depends on \`${unsaid.join('`, `')}\`, which the case does not say`;
  if (was === undefined) return `${old} does not listen there, ${file} ${outcomeOf(is)}`;
  const [before, now] = [outcomeOf(was), outcomeOf(is)];
  if (before === now || (was.code !== null && is.code !== null)) return undefined;
  return `${old} ${before}, ${file} ${now}`;
}

/** Upstreams by their addresses, since their names may have been changed. */
function outcomeOf({ code, taken, tls, upstream }: Explanation): string {
  if (code !== null) return `refuses it (${code})`;
  const addresses = upstream?.endpoints.flatMap(({ endpoint }) => endpoint ?? []).sort() ?? [];
  const verify = upstream?.tls?.verify;
  const asked = tls?.client_auth?.mode;
  return [
    taken?.action === 'passthrough'
      ? 'passes it through'
      : taken?.action === 'terminate'
        ? 'terminates its TLS'
        : 'forwards it',
    `to ${addresses.join(', ')}`,
    ...(verify === undefined ? [] : [`by TLS (verify: ${verify})`]),
    ...(upstream?.proxy_header ? [`with a PROXY header ${upstream.proxy_header.version}`] : []),
    ...(asked === undefined || asked === 'none' ? [] : [`and ${asked}s a certificate`]),
  ].join(' ');
}
