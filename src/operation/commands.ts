/** Carries out what an operator asks of a running penstock, and logs it. */
import type { Logger } from 'pino';
import { levels } from '../config/schema/levels.ts';
import type { Config } from '../config/schema/schema.ts';
import { parseEndpoint } from '../net/written-address.ts';
import type { CommandResult, Commands, DrainPlace } from '../observe/commands.ts';
import type { EndpointStatus, UpstreamStatus } from '../observe/status.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import type { Drained } from './drained.ts';
import { listedUpstreams } from './endpoint-overview.ts';
import type { Level, LogLevel } from './log-level.ts';

type CommandParts = {
  readonly supervisor: Pick<Supervisor, 'sessions' | 'kill'>;
  readonly config: () => Config;
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
    sessions: (query) => supervisor.sessions(query),
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
      if (!drained.remove(place)) return fault(`${endpoint ?? upstream} is not drained`);
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

function fault(text: string): CommandResult {
  return { ok: false, fault: text };
}

/** Why there is nothing to drain; undefined if there is. */
async function whyNoPlace(
  parts: CommandParts,
  { upstream, endpoint }: DrainPlace,
): Promise<string | undefined> {
  const config = parts.config();
  const { [upstream]: settings } = config.upstreams;
  if (settings === undefined || !Object.hasOwn(config.upstreams, upstream)) {
    return `no upstream is called ${upstream}`;
  }
  if (endpoint === undefined) return undefined;
  const labels = (await endpointsOf(parts, upstream)).map(({ label }) => label);
  if (labels.includes(endpoint)) return undefined;
  // Which endpoints these have depends on clients, or on what names resolve to.
  const isOpen = settings.resolve.each_address || !listedUpstreams({ config }).includes(upstream);
  if (isOpen && parseEndpoint(endpoint) !== undefined) return undefined;
  return `${upstream} has no endpoint ${endpoint}; it has ${labels.slice(0, 20).join(', ') || 'none yet'}`;
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
