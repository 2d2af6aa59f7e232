/** Carries out what an operator asks of a running penstock, and logs it. */
import type { Logger } from 'pino';
import { suggest } from '../config/rules/near-miss.ts';
import { levels } from '../config/schema/levels.ts';
import type { Config } from '../config/schema/schema.ts';
import { parseEndpoint } from '../net/written-address.ts';
import type { CommandResult, Commands, DrainPlace, Fault } from '../observe/commands.ts';
import type { SessionQuery } from '../observe/sessions.ts';
import type { EndpointStatus, UpstreamStatus } from '../observe/status.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import type { Drained } from './drained.ts';
import { listedUpstreams } from './endpoint-overview.ts';
import type { Level, LogLevel } from './log-level.ts';

type CommandParts = {
  readonly supervisor: Pick<Supervisor, 'sessions' | 'kill'>;
  readonly config: () => Config;
  /** The names of routes, by listener. */
  readonly routeNames: () => Promise<ReadonlyMap<string, readonly string[]>>;
  /** The state of all endpoints. */
  readonly upstreams: () => Promise<readonly UpstreamStatus[]>;
  readonly drained: Drained;
  readonly logLevel: LogLevel;
  readonly logger: Logger;
};

export function createCommands(parts: CommandParts): Commands {
  const { supervisor, logLevel } = parts;
  const log = (fields: object) => parts.logger.warn(fields, 'an operator’s command');
  return {
    async sessions(query) {
      const found = await supervisor.sessions(query);
      // What was removed or renamed may still have connections.
      const wrong = found.total === 0 ? await whyNoneMatches(parts, query) : undefined;
      return wrong === undefined ? found : fault(wrong);
    },
    async kill(conn) {
      if (!(await supervisor.kill(conn))) return fault(`no open connection is called ${conn}`);
      log({ command: 'kill', conn });
      return { ok: true, conn };
    },
    async drain(place) {
      const wrong = await whyNoPlace(parts, place);
      if (wrong !== undefined) return fault(wrong);
      if (!parts.drained.add(place)) return fault('too much is drained already');
      log({ command: 'drain', ...place });
      return describePlace(parts, place);
    },
    async undrain(place) {
      const { drained } = parts;
      const { upstream, endpoint } = place;
      if (endpoint !== undefined && drained.hasWhole(upstream)) {
        return fault(`${upstream} is drained as a whole: undrain it, then drain what is to stay so`);
      }
      if (!drained.remove(place)) {
        return fault(whyNoUpstream(parts.config(), upstream) ?? `${endpoint ?? upstream} is not drained`);
      }
      log({ command: 'undrain', ...place });
      return describePlace(parts, place);
    },
    async logLevel(asked) {
      if (!isLevel(asked)) return fault(`level: expected ${levels.join(', ')} or reset`);
      log({ command: 'log-level', level: asked });
      logLevel.set(asked);
      return { ok: true, level: logLevel.now() };
    },
  };
}

function isLevel(text: string): text is Level | 'reset' {
  return text === 'reset' || levels.some((level) => level === text);
}

function fault(text: string): Fault {
  return { ok: false, fault: text };
}

/** Why there is nothing to drain; undefined if there is. */
async function whyNoPlace(
  parts: CommandParts,
  { upstream, endpoint }: DrainPlace,
): Promise<string | undefined> {
  const config = parts.config();
  const unknown = whyNoUpstream(config, upstream);
  const { [upstream]: settings } = config.upstreams;
  if (unknown !== undefined || settings === undefined || endpoint === undefined) return unknown;
  const labels = (await endpointsOf(parts, upstream)).map(({ label }) => label);
  if (labels.includes(endpoint)) return undefined;
  // Which endpoints these have depends on clients, or on what names resolve to.
  const isOpen = settings.resolve.each_address || !listedUpstreams({ config }).includes(upstream);
  if (isOpen && parseEndpoint(endpoint) !== undefined) return undefined;
  return `${upstream} has no endpoint ${endpoint}; it has ${labels.slice(0, 20).join(', ') || 'none yet'}`;
}

function whyNoUpstream({ upstreams }: Config, name: string): string | undefined {
  return Object.hasOwn(upstreams, name) ? undefined : noneCalled('upstream', name, Object.keys(upstreams));
}

/** The filter that names what there is not; undefined if there is none. */
async function whyNoneMatches(
  parts: CommandParts,
  { listener, route, upstream, endpoint }: SessionQuery,
): Promise<string | undefined> {
  const config = parts.config();
  if (listener !== undefined && !Object.hasOwn(config.listeners, listener)) {
    return noneCalled('listener', listener, Object.keys(config.listeners));
  }
  const wrong = upstream === undefined ? undefined : await whyNoPlace(parts, { upstream, endpoint });
  // A number is a place in a list.
  if (wrong !== undefined || route === undefined || /^\d+$/.test(route)) return wrong;
  const names = await parts.routeNames();
  const known = listener === undefined ? [...names.values()].flat() : (names.get(listener) ?? []);
  return known.includes(route) ? undefined : noneCalled('route', route, known);
}

/** More than anybody reads; each would be compared letter by letter. */
const mostCompared = 2000;

function noneCalled(kind: string, name: string, known: readonly string[]): string {
  const hint = known.length > mostCompared ? undefined : suggest(name, known, 'there are');
  return `no ${kind} is called "${name}"${hint === undefined ? '' : `; ${hint}`}`;
}

async function endpointsOf(parts: CommandParts, upstream: string): Promise<readonly EndpointStatus[]> {
  return (await parts.upstreams()).find(({ name }) => name === upstream)?.endpoints ?? [];
}

/** What an operator wants to know next: how many clients are still there, and who takes the new ones. */
async function describePlace(
  parts: CommandParts,
  { upstream, endpoint }: DrainPlace,
): Promise<CommandResult> {
  const endpoints = await endpointsOf(parts, upstream);
  const place = endpoints.filter(({ label }) => endpoint === undefined || label === endpoint);
  const serving = endpoints.filter(
    ({ state, drained }) => !drained && state !== 'down' && state !== 'ejected',
  );
  return {
    ok: true,
    upstream,
    endpoint: endpoint ?? null,
    open: place.reduce((sum, { active }) => sum + active, 0),
    serving: serving.map(({ label }) => label),
  };
}
