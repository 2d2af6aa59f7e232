/** Converts a haproxy.cfg in TCP mode. */
import { createDraft, type Draft, textOf, unclearIn } from '../draft.ts';
import { createNotes, type Notes } from '../notes.ts';
import { whole } from '../numbers.ts';
import type { Imported, Input, Surroundings } from '../result.ts';
import { createBackends } from './backends.ts';
import { createPemFiles } from './files.ts';
import { addFrontend } from './frontends.ts';
import { type Configuration, readConfiguration } from './proxies.ts';
import { readSections } from './syntax.ts';
import { defaultOptions } from './tls.ts';

/** Several files are read as one, as HAProxy does. Throws an ImportError if one cannot be understood. */
export function importHaproxy(inputs: readonly Input[], surroundings: Surroundings): Imported {
  // The first run only finds out which lines are not understood.
  const { strange } = build(inputs, surroundings, new Set());
  return build(inputs, surroundings, strange).imported;
}

function build(
  inputs: readonly Input[],
  surroundings: Surroundings,
  strange: ReadonlySet<string>,
): { imported: Imported; strange: ReadonlySet<string> } {
  const notes = createNotes();
  const configuration = readConfiguration(readSections(inputs, notes), strange, notes);
  const draft = createDraft();
  const { proxies, global } = configuration;
  const files = createPemFiles(draft, bases(configuration), notes, surroundings);
  const byName = new Map(
    proxies.flatMap((proxy) => (proxy.kind === 'frontend' ? [] : [[proxy.name, proxy]])),
  );
  const backends = createBackends(
    draft,
    files,
    {
      options: defaultOptions('server', global),
      verifiesNothing: global('ssl-server-verify')?.words[1] === 'none',
    },
    (name) => byName.get(name),
    notes,
  );
  const bindDefaults = defaultOptions('bind', global);
  // What they set has been put in its place.
  for (const keyword of ['setenv', 'presetenv', 'unsetenv']) global(keyword);
  const maxconn = global('maxconn')?.words[1];
  for (const proxy of proxies) {
    if (proxy.kind === 'backend') continue;
    addFrontend(proxy, { draft, files, backends, byName, bindDefaults, maxconn, notes, surroundings });
  }
  workers(configuration, draft);
  tellUnused(configuration, draft, notes);
  const found = configuration.tellRest();
  const names = inputs.map(({ file }) => file).join(', ');
  const yaml = textOf(
    draft,
    `Made by \`penstock import haproxy\` from ${names}. Read what it said, and run \`penstock check\`.`,
    surroundings,
  );
  return { imported: { yaml, notes: notes.all(), unclear: unclearIn(draft), files: [] }, strange: found };
}

function bases({ global }: Configuration) {
  return { crt: global('crt-base')?.words[1] ?? '', ca: global('ca-base')?.words[1] ?? '' };
}

function workers({ global }: Configuration, draft: Draft): void {
  const threads = whole(global('nbthread')?.words[1], 1, 512);
  if (threads !== undefined) draft.top['workers'] = threads;
}

/** Reports backends that no frontend uses, and a configuration without listeners. */
function tellUnused({ proxies }: Configuration, draft: Draft, notes: Notes): void {
  const used = new Set([...draft.upstreams.values()].map(({ comment }) => comment));
  for (const { kind, name, section, every } of proxies) {
    if (kind !== 'backend' || used.has(`${section.file}:${section.line} backend ${name}`)) continue;
    notes.leftOut(section, `backend ${name}`, 'no client is routed here');
    for (const { words } of section.lines) every(...words.slice(0, 1));
  }
  const [first] = proxies;
  if (draft.listeners.size === 0) {
    const message = 'there is no frontend or listen in mode tcp that could be carried over';
    notes.notCarried({ file: first?.section.file ?? '', line: 0 }, 'listeners', message);
  }
}
