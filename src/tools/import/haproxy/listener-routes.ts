/** Turns a frontend's rules into routes. */
import { type Demand, decide, type Entry, type Rule, refusedUnclear } from '../decision.ts';
import { nameFrom } from '../draft.ts';
import type { Notes } from '../notes.ts';
import { type Handling, plainRoutes, type RouteDraft, routesByName } from '../routes.ts';
import type { Approach } from './backend-tls.ts';
import type { Bind } from './bind.ts';
import type { PemFiles } from './files.ts';
import type { FrontendParts, Listening } from './listening.ts';
import type { ProxySection } from './proxies.ts';
import type { FrontendRules, RuleTarget } from './rules.ts';
import { timeOf } from './syntax.ts';
import type { TlsSettings } from './terminating.ts';

type Stages = FrontendRules['stages'];

/** The routes in order of precedence; [] if every client is refused. Adds the upstreams they use. */
export function routesOf(listening: Listening, stages: Stages, parts: FrontendParts): RouteDraft[] {
  const { bind, rules } = listening;
  const looksAtHello = [rules.connection, ...rules.stages].some((stage) =>
    stage.some(({ when }) => when.some(isAboutHello)),
  );
  if (bind.tls) return terminatedRoutes(listening, bind.tls, stages, parts);
  if (!looksAtHello) return openRoutes(listening, stages, parts);
  if (!waitsForHello(listening)) {
    const message =
      'without tcp-request inspect-delay, and a tcp-request content rule about the hello, HAProxy looks for the name even if the hello has not arrived yet, so the outcome is a matter of chance; penstock waits for the hello';
    parts.notes.look(bind.line, bind.line.text, message);
  }
  return [...passedRoutes(listening, stages, parts), ...routesBeside(listening, stages, parts)];
}

/** HAProxy waits only for what its content rules ask for; the choice of backend takes what is there. */
function waitsForHello({ proxy, rules }: Listening): boolean {
  const content = rules.stages.slice(0, 2).flat();
  const asks = content.some(({ when, text }) => when.some(isAboutHello) || text.includes('WAIT_END'));
  return asks && proxy.last('tcp-request', 'inspect-delay') !== undefined;
}

function isAboutHello(condition: Rule<RuleTarget>['when'][number]): boolean {
  const { kind } = condition;
  return kind === 'hello' || ((kind === 'name' || kind === 'alpn') && condition.of === 'hello');
}

function terminatedRoutes(
  listening: Listening,
  tls: NonNullable<Bind['tls']>,
  stages: Stages,
  parts: FrontendParts,
): RouteDraft[] {
  const { ports, bind } = listening;
  if (stages.some((stage) => stage.some(({ when }) => when.some(isAboutHello)))) {
    const message =
      'rules about req.ssl_sni and the like find nothing where TLS is terminated, as in HAProxy';
    parts.notes.look(bind.line, bind.line.text, message, 'was ssl_fc_sni meant?');
  }
  const routes = routesByName<RuleTarget>({
    patterns: [...tls.patterns, ...patternsIn(stages)],
    decideFor(clients) {
      const settings = tls.settingsFor(clients);
      if (settings === undefined) return [];
      if (typeof settings === 'string') return [refusedUnclear(settings)];
      const auth = settings.client_auth?.mode ?? 'none';
      return decide(stages, { clients, terminated: true, ports, auth }, teller(parts.notes));
    },
    handle({ demand }, target, clients) {
      const settings = tls.settingsFor(clients);
      const merged = typeof settings === 'object' ? withDemand(settings, demand) : undefined;
      if (merged?.client_auth?.authority === 'system' && !('allow' in merged.client_auth)) {
        return {
          refused: 'any public certificate would get in: name an authority of your own, or `allow` rules',
        };
      }
      return handle(
        target,
        merged ?? 'off',
        approach('terminated', listening, clients.kind === 'nameless'),
        listening,
        parts,
      );
    },
  });
  return routes.map((route) => withFittingCertificates(route, parts.files));
}

/** Keeps the certificates that cover a route's names, if known, since others would only cause warnings. */
function withFittingCertificates(route: RouteDraft, files: PemFiles): RouteDraft {
  const { sni, tls } = route.value as { sni?: string | string[]; tls?: TlsSettings };
  if (sni === undefined || tls === undefined || tls.certificates.length < 2) return route;
  const names = [sni].flat();
  const fitting = tls.certificates.filter((certificate) => files.fits(certificate, names));
  return fitting.length === 0
    ? route
    : { ...route, value: { ...route.value, tls: { ...tls, certificates: fitting } } };
}

/** Adds what rules require of certificates to the policy. */
function withDemand(settings: TlsSettings, { present, rules }: Demand): TlsSettings {
  if (settings.client_auth === undefined || (!present && rules === undefined)) return settings;
  return {
    ...settings,
    client_auth: { ...settings.client_auth, mode: 'require', ...(rules && { allow: rules }) },
  };
}

function passedRoutes(listening: Listening, stages: Stages, parts: FrontendParts): RouteDraft[] {
  const { ports } = listening;
  return routesByName<RuleTarget>({
    patterns: patternsIn(stages),
    decideFor: (clients) =>
      decide(stages, { clients, terminated: false, ports, auth: 'none' }, teller(parts.notes)),
    handle: (_, target) =>
      handle(target, 'passthrough', approach('passthrough', listening), listening, parts),
  });
}

/** Routes of a listener that inspects nothing and forwards all bytes. */
function openRoutes(listening: Listening, stages: Stages, parts: FrontendParts): RouteDraft[] {
  const { ports } = listening;
  return plainRoutes<RuleTarget>({
    decideFor: (clients) =>
      decide(stages, { clients, terminated: false, ports, auth: 'none' }, teller(parts.notes)),
    handle: (_, target) => handle(target, 'off', approach('off', listening), listening, parts),
  });
}

/** On a port where names matter, clients without TLS get in only if a rule asks for them. */
function routesBeside(listening: Listening, stages: Stages, parts: FrontendParts): RouteDraft[] {
  const { ports, bind, unclear } = listening;
  const situation = { clients: { kind: 'plain' as const }, terminated: false, ports, auth: 'none' as const };
  const entries = decide(stages, situation, teller(parts.notes));
  const isMeant = ({ to, meantForPlain }: Entry<RuleTarget>) => to !== undefined && meantForPlain;
  const isAdmittedThere = (entry: Entry<RuleTarget>) => entry.to !== undefined && !entry.meantForPlain;
  const admits =
    'once tcp-request inspect-delay is over, HAProxy admits clients that do not speak TLS; penstock refuses them';
  if (entries.some(isAdmittedThere)) {
    parts.notes.look(bind.line, bind.line.text, admits, 'a route with `tls: off` lets them in');
    unclear.plain = admits;
  }
  if (!entries.some(isMeant)) return [];
  const message =
    'once tcp-request inspect-delay is over, HAProxy admits clients that send nothing, as where the server speaks first; penstock waits for their first byte, and refuses them after timeouts.client_hello';
  parts.notes.look(bind.line, bind.line.text, message, 'give them a listener of their own');
  return plainRoutes<RuleTarget>({
    decideFor: () =>
      entries.map((entry) => (isAdmittedThere(entry) ? { ...entry, to: undefined, unclear: admits } : entry)),
    handle: (_, target) => handle(target, 'off', approach('off', listening), listening, parts),
  });
}

function patternsIn(stages: Stages): string[] {
  const inRules = (rules: readonly Rule<RuleTarget>[]): string[] =>
    rules.flatMap(({ when, action }) => [
      ...when.flatMap((condition) => (condition.kind === 'name' ? condition.test.patterns : [])),
      ...(action.kind === 'to' && action.guard ? inRules(action.guard) : []),
    ]);
  return stages.flatMap(inRules);
}

function teller(notes: Notes) {
  return ({ place, text, when }: Rule<RuleTarget>) => {
    const what = text.replace(/^\S+ /, '');
    if (when.some(({ kind }) => kind === 'certificate')) {
      const message =
        'all that penstock can say here is that clients need a certificate: those it may apply to are refused';
      notes.notCarried(
        place,
        what,
        message,
        'as `tcp-request content reject unless …` it becomes client_auth.allow',
      );
      return;
    }
    const message =
      'whether this holds for clients that ask for a name not listed cannot be known in advance: they are refused';
    notes.notCarried(place, what, message, 'write the names as `sni` of routes');
  };
}

function approach(kind: Approach['kind'], { ports }: Listening, isNameless = false): Approach {
  return { kind, ports, isNameless };
}

function handle(
  target: RuleTarget,
  tls: object | 'passthrough' | 'off',
  approach: Approach,
  { idle, proxy }: Listening,
  { backends }: FrontendParts,
): Handling {
  const used = backends.use(target, approach);
  if ('refused' in used) return used;
  const silence = idleOf(proxy, target);
  if (silence !== undefined) idle.add(silence);
  return { name: nameFrom(target.name).slice(0, 60), tls, upstream: used.name };
}

/**
 * A tunnel's time-out applies to both sides; without it, the shorter of the two sides' applies. 0 means none.
 */
function idleOf(frontend: ProxySection, backend: ProxySection): number | undefined {
  const time = (proxy: ProxySection, name: string) => {
    const said = timeOf(proxy.last('timeout', name)?.words[2]);
    return said === 0 ? Number.POSITIVE_INFINITY : said;
  };
  const sides = [time(frontend, 'client'), time(backend, 'server')].flatMap((side) => side ?? []);
  return time(backend, 'tunnel') ?? (sides.length > 0 ? Math.min(...sides) : undefined);
}
