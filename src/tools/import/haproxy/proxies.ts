/** Frontends, backends and listens with their defaults, keeping track of which lines were understood. */
import type { Notes, SourcePlace } from '../notes.ts';
import type { Line, Section } from './syntax.ts';

export type ProxySection = {
  readonly section: Section;
  readonly kind: 'frontend' | 'backend' | 'listen';
  readonly name: string;
  /** The last line with these first words, preferring its own over its defaults'. Marks it as understood. */
  readonly last: (...words: readonly string[]) => Line | undefined;
  /** All lines with these first words, its defaults' first. Marks them as understood. */
  readonly every: (...words: readonly string[]) => readonly Line[];
  /**
   * A line of its own or its defaults that was not understood, and that may decide who gets in, or where to.
   */
  readonly strange: Line | undefined;
};

export type Configuration = {
  readonly proxies: readonly ProxySection[];
  /** The last line of `global` with these first words. */
  readonly global: (...words: readonly string[]) => Line | undefined;
  /**
   * To be called at the end: reports all lines that were not understood, and returns those that may refuse
   * clients.
   */
  readonly tellRest: () => ReadonlySet<string>;
};

/**
 * The lines that a proxy takes over: of the section that it names, and of those that this one names in turn.
 */
function defaultsOf(
  { from }: Section,
  sections: readonly Section[],
  last: Section | undefined,
  seen: ReadonlySet<Section> = new Set(),
): readonly Line[] {
  const taken =
    from === undefined ? last : sections.find((one) => one.kind === 'defaults' && one.name === from);
  if (taken === undefined || seen.has(taken)) return [];
  // Without `from`, defaults begin anew.
  return [...defaultsOf(taken, sections, undefined, new Set([...seen, taken])), ...taken.lines];
}

/**
 * Reads proxies in TCP mode, the default; reports and skips others. `strange` is what `tellRest` found in an
 * earlier run.
 */
export function readConfiguration(
  sections: readonly Section[],
  strange: ReadonlySet<string>,
  notes: Notes,
): Configuration {
  const understood = new Set<Line>();
  const mark = (lines: readonly Line[]) => {
    for (const line of lines) understood.add(line);
    return lines;
  };
  const globals = sections.filter(({ kind }) => kind === 'global').flatMap(({ lines }) => lines);
  const skipped = new Set<Section>();
  const proxies: ProxySection[] = [];
  let defaults: Section | undefined;
  for (const section of sections) {
    if (section.kind === 'defaults') defaults = section;
    if (!isProxyKind(section.kind)) continue;
    const all = [...defaultsOf(section, sections, defaults), ...section.lines];
    const lines = all.filter(({ branch }) => branch === undefined);
    const every = (...words: readonly string[]) => mark(lines.filter((line) => begins(line, words)));
    const last = (...words: readonly string[]) => every(...words).at(-1);
    const mode = last('mode')?.words[1] ?? 'tcp';
    if (mode !== 'tcp' || last('disabled')?.words.length === 1) {
      skipped.add(section);
      const why = mode === 'tcp' ? 'it is disabled' : `it is in mode ${mode}, and penstock proxies streams`;
      notes.notCarried(section, `${section.kind} ${section.name}`, why);
      continue;
    }
    proxies.push({
      section,
      kind: section.kind,
      name: section.name,
      every,
      last,
      strange: all.find((line) => line.branch !== undefined || strange.has(placeOf(line))),
    });
  }
  return {
    proxies,
    global: (...words) => mark(globals.filter((line) => begins(line, words))).at(-1),
    tellRest() {
      // If it refuses clients they reach no backend, whose lines then are never read, but stay strange.
      const isUnderstood = (line: Line) => understood.has(line) && !strange.has(placeOf(line));
      const rest = sections.filter((section) => !skipped.has(section));
      return new Set(rest.flatMap((section) => tellRestOf(section, isUnderstood, notes)).map(placeOf));
    },
  };
}

function placeOf({ file, line }: SourcePlace): string {
  return `${file}:${line}`;
}

function isProxyKind(kind: string): kind is ProxySection['kind'] {
  return kind === 'frontend' || kind === 'backend' || kind === 'listen';
}

function begins({ words }: Line, wanted: readonly string[]): boolean {
  return wanted.every((word, index) => words[index] === word);
}

/** Lines without meaning here: how HAProxy runs, what it logs, HTTP, and its tuning. */
const idle = new RegExp(
  `^(${[
    'log|log-tag|log-format|log-format-sd|error-log-format|log-steps|no log|unique-id-format',
    'chroot|daemon|user|group|uid|gid|pidfile|stats|master-worker|node|description|localpeer|hard-stop-after|grace|set-dumpable',
    'external-check|insecure-.*|nbproc|nbthread|cpu-map|thread-groups?|ulimit-n|fd-hard-limit|maxpipes|spread-checks|expose-.*',
    'tune\\..*|noepoll|nopoll|nosplice|noreuseport|busy-polling|strict-limits|quiet|debug|zero-warning|lua-.*|resetenv',
    'unix-bind|ssl-dh-param-file|ssl-engine|ssl-mode-async|ssl-load-extra-.*|issuers-chain-path|harden\\..*|limited-quic',
    'mode|id|enabled|guid|backlog|fullconn|errorfile|errorfiles|errorloc.*|http-.*|cookie|hash-type|hash-balance-factor|email-alert',
    'option (tcplog|httplog|dontlognull|dontlog-normal|logasap|log-health-checks|log-separate-errors|socket-stats|contstats|accept-.*)',
    'option (tcpka|clitcpka|srvtcpka|splice-.*|tcp-smart-.*|http.*|forwardfor|originalto|redispatch|persist|nolinger|abortonclose)',
    'option (idle-close-on-response|h1-.*|disable-h2-upgrade|independent-streams|transparent|prefer-last-server|checkcache|http_proxy)',
    'no option .*|timeout (http-.*|tarpit|client-hs)|clitcpka-.*|srvtcpka-.*|retry-on|compression|capture|monitor.*|acl|dispatch-none',
  ].join('|')})$`,
);

const noMeaning = 'it means nothing to penstock';

/** What does the same, elsewhere. */
const instead: ReadonlyMap<string, string> = new Map([
  ['log', 'see `log` of the configuration: one JSON object for each connection'],
  ['log-format', 'the access log is JSON, see docs/operations.md'],
  ['user', 'start penstock as that user; ports below 1024 need CAP_NET_BIND_SERVICE or sockets from systemd'],
  ['group', 'start penstock in that group; see `user`'],
  ['uid', 'start penstock as that user'],
  ['gid', 'start penstock in that group'],
  ['chroot', 'see `restrict_workers`, and the sandbox of the systemd unit'],
  ['daemon', 'systemd or a container runs it in the background'],
  ['master-worker', 'a supervisor and its workers always run'],
  ['pidfile', 'systemd knows the process; or write `$!` of the shell'],
  ['unix-bind', 'see `bind` of listeners: a unix socket has its mode, owner and group there'],
  ['stats', 'see `admin`: status, metrics for Prometheus, a live page, and `penstock top`'],
  ['mode', 'penstock has only mode tcp'],
  ['http-check', 'nothing is checked by HTTP here'],
  ['monitor', 'see `/healthz` of `admin`'],
  ['monitor-uri', 'see `/healthz` of `admin`'],
  ['ulimit-n', 'see LimitNOFILE of the systemd unit'],
  ['cpu-map', 'see CPUAffinity of the systemd unit'],
  ['nbproc', 'see `workers`'],
  ['hash-type', '`balance: hash` is consistent'],
]);

/**
 * Lines that neither refuse nor redirect clients: they have no counterpart, or HAProxy ignores them in such a
 * section.
 */
const open =
  /^(balance|bind|server|default-server|server-template|retries|maxconn|(default|use)_backend|use-server|tcp-check|stick|stick-table|rate-limit|declare|option|timeout|persist|(force|ignore)-persist|load-server-state-from-file|server-state-file-name|max-session-srv-conns|source|unique-id-header|external-check)$/;

/** Returns entirely unknown lines, which may decide who gets in. */
function tellRestOf(section: Section, isUnderstood: (line: Line) => boolean, notes: Notes): Line[] {
  const { kind, name, lines } = section;
  if (!['global', 'defaults', 'frontend', 'backend', 'listen'].includes(kind)) {
    notes.notCarried(section, `${kind} ${name}`.trim(), 'penstock has no such sections');
    return [];
  }
  const strange: Line[] = [];
  for (const line of lines) {
    if (isUnderstood(line) || line.branch !== undefined) continue;
    const [first = '', second = ''] = line.words;
    const unused = 'no proxy in mode tcp uses it';
    if (idle.test(first) || idle.test(`${first} ${second}`) || (kind === 'defaults' && first === 'timeout')) {
      notes.leftOut(line, line.text, first === 'timeout' ? unused : (instead.get(first) ?? noMeaning));
    } else if (kind === 'global' || open.test(first)) {
      notes.notCarried(line, line.text, 'penstock has no such setting');
    } else {
      const message =
        'penstock does not know it, and it may decide who gets in: clients it may apply to are refused';
      notes.notCarried(line, line.text, message, 'if it does not, remove it');
      strange.push(line);
    }
  }
  return strange;
}
