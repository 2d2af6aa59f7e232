/** Converts the `stream` block of an nginx.conf. */
import { createDraft, type Draft, textOf, unclearIn } from '../draft.ts';
import { createNotes, type Notes } from '../notes.ts';
import { ImportError, type Imported, type Input, type Surroundings } from '../result.ts';
import { addServer } from './servers.ts';
import { type Directive, parseNginx } from './syntax.ts';
import { createUpstreams } from './upstreams.ts';

/** What the servers of a configuration share. */
export type Parts = {
  readonly draft: Draft;
  readonly notes: Notes;
  readonly surroundings: Surroundings;
  /** The directives of the stream block, whose settings each server inherits. */
  readonly stream: readonly Directive[];
  readonly upstreams: ReturnType<typeof createUpstreams>;
};

/** Several files are read as one. Throws an ImportError if one cannot be understood. */
export function importNginx(inputs: readonly Input[], surroundings: Surroundings): Imported {
  const notes = createNotes();
  const all = inputs.flatMap((input) => parseNginx(input, surroundings, notes));
  const stream = streamOf(all, notes);
  const [first] = all;
  if (stream === undefined) {
    throw new ImportError(
      `${first?.file ?? inputs[0]?.file}: there is no \`stream\` block: is this an nginx.conf?`,
    );
  }
  const draft = createDraft();
  const parts = {
    draft,
    notes,
    surroundings,
    stream,
    upstreams: createUpstreams(stream, draft, notes, surroundings),
  };
  tellStream(stream, notes);
  for (const directive of stream)
    if (directive.name === 'server' && directive.block) addServer(directive, parts);
  if (draft.listeners.size === 0) {
    const message = 'there is no server that could be carried over';
    notes.notCarried({ file: first?.file ?? '', line: 0 }, 'listeners', message);
  }
  const names = inputs.map(({ file }) => file).join(', ');
  const yaml = textOf(
    draft,
    `Made by \`penstock import nginx\` from ${names}. Read what it said, and run \`penstock check\`.`,
    surroundings,
  );
  return { yaml, notes: notes.all(), unclear: unclearIn(draft), files: [] };
}

/** The inside of all stream blocks; or all of a file that is included within one. */
function streamOf(all: readonly Directive[], notes: Notes): readonly Directive[] | undefined {
  const blocks = all.filter(({ name, block }) => name === 'stream' && block !== undefined);
  const isInside = ({ name, block }: Directive) =>
    (name === 'server' || name === 'upstream') && block !== undefined;
  if (blocks.length === 0) return all.some(isInside) ? all : undefined;
  for (const directive of all) {
    if (blocks.includes(directive)) continue;
    if (directive.block && directive.name !== 'events') {
      notes.notCarried(directive, directive.name, 'penstock proxies streams, and carries over `stream` only');
    } else if (directive.name === 'include') {
      notes.notCarried(directive, directive.text, 'it cannot be read, and may contain a `stream`');
    } else notes.leftOut(directive, directive.text, 'it means nothing to penstock');
  }
  return blocks.flatMap(({ block = [] }) => block);
}

/** Reports what stands beside servers and upstreams; what decides about clients is read with each server. */
function tellStream(stream: readonly Directive[], notes: Notes): void {
  for (const directive of stream) {
    const { name, text } = directive;
    if (name === 'limit_conn_zone') {
      notes.notCarried(directive, text, 'penstock has no such zones', 'see limits.connections_per_ip');
    } else if (name === 'split_clients') {
      notes.notCarried(
        directive,
        text,
        'clients are not chosen by lot here',
        'clients that depend on it are refused',
      );
    }
  }
}
