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
import { ImportError, type Imported } from '../import/result.ts';
import { counted, harmless } from '../terminal/text.ts';
import { type Case, loadCases } from './cases.ts';
import { clientsSchema } from './schema.ts';

/**
 * Prints a line for each client with another outcome, or of whom that cannot be known, and a summary.
 * Resolves with the exit code: 0; 1 if there is such a client; 2 for a file that cannot be read or has
 * faults.
 */
export async function diff(old: string, file: string, cases: string): Promise<number> {
  try {
    const before = await loadImported(old);
    const after = await loadConfig(file);
    const { cases: clients } = await loadCases(cases, after, clientsSchema);
    const [theirs, ours] = [createExplainer(before.loaded), createExplainer(after)];
    const lines: string[] = [];
    const found = { same: 0, other: 0, unclear: 0 };
    for (const one of clients) {
      const listener = counterpart(one, before.loaded, after);
      const was = listener === undefined ? undefined : await theirs.explain(listener, one.client);
      const is = await ours.explain(one.listener, one.client);
      const { verdict, text } = compare(was, is, before, { old, file });
      found[verdict] += 1;
      const { line, column } = one.place();
      if (verdict !== 'same') lines.push(`${cases}:${line}:${column} (${one.name}): ${text}`);
    }
    await Promise.all([theirs.close(), ours.close()]);
    lines.push(summaryOf(clients.length, found));
    if (before.lost > 0) {
      lines.push(
        `${before.lost} not carried over from ${old}, which \`penstock import\` lists; load is taken for that of a normal day`,
      );
    }
    process.stdout.write(lines.map((line) => `${harmless(line)}\n`).join(''));
    return found.same === clients.length ? 0 : 1;
  } catch (error) {
    if (error instanceof ConfigError) {
      for (const finding of error.findings) process.stderr.write(`${formatFinding(finding)}\n`);
    } else if (error instanceof ImportError) process.stderr.write(`${error.message}\n`);
    else throw error;
    return 2;
  }
}

type Verdict = 'same' | 'other' | 'unclear';

function summaryOf(count: number, { same, other, unclear }: Readonly<Record<Verdict, number>>): string {
  const clients = counted(count, 'client');
  if (same === count) return `${clients}, all with the same outcome`;
  const parts = [`${other} with another outcome`, ...(unclear > 0 ? [`${unclear} unclear`] : [])];
  return [clients, ...parts].join(', ');
}

/** What the import makes of the old configuration. `lost` counts what it did not carry over. */
type Before = Pick<Imported, 'unclear'> & { readonly loaded: LoadedConfig; readonly lost: number };

async function loadImported(file: string): Promise<Before> {
  const text = readOld(file);
  const kind = kindOf(text);
  if (kind === undefined)
    throw new ImportError(`${file}: it is no configuration that \`penstock import\` knows`);
  const { yaml, notes, unclear } = importText(kind, { file, text });
  const loaded = await loadText({
    text: sharedText(Buffer.from(yaml)),
    name: `${file}, imported`,
    directory: process.cwd(),
  });
  return { loaded, unclear, lost: notes.filter((note) => note.kind === 'not_carried').length };
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

function compare(
  was: Explanation | undefined,
  is: Explanation,
  before: Before,
  { old, file }: { readonly old: string; readonly file: string },
): { readonly verdict: Verdict; readonly text: string } {
  const unsaid = [...new Set([...(was?.undecided ?? []), ...is.undecided])];
  if (unsaid.length > 0) {
    const text = `cannot tell: it depends on \`${unsaid.join('`, `')}\`, which the case does not say`;
    return { verdict: 'unclear', text };
  }
  const now = outcomeOf(is);
  if (was === undefined) {
    if (before.lost === 0) return { verdict: 'other', text: `${old} does not listen there, ${file} ${now}` };
    return {
      verdict: 'unclear',
      text: `cannot tell: nothing that was carried over from ${old} listens there`,
    };
  }
  const why = whyUnclear(was, before.unclear);
  if (why !== undefined) {
    const text = `cannot tell: what ${old} does with it was not carried over (${why}), ${file} ${now}`;
    return { verdict: 'unclear', text };
  }
  const isSame = outcomeOf(was) === now || (was.code !== null && is.code !== null);
  return { verdict: isSame ? 'same' : 'other', text: `${old} ${outcomeOf(was)}, ${file} ${now}` };
}

/** Why what the import makes of such a client is only a guess. */
function whyUnclear({ listener, taken, client, admission }: Explanation, all: Before['unclear']) {
  // Whoever is not let in at all meets no rule about names.
  if (admission.admitted === false) return undefined;
  const isTold = ({ route }: Before['unclear'][number]) =>
    taken === null ? route === 'plain' && client.plain : route === taken.index;
  return all.find((one) => one.listener === listener && isTold(one))?.why;
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
