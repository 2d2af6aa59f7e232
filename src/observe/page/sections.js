/* The tables, in the order in which they are shown. */
import { askDrain, explainCode } from './actions.js';
import { ago, bytes, count, day, perSecond, rateOf } from './format.js';

const listener = (status, name) => status.listeners.find((one) => one.name === name);
const listenerRate = (now, before, name, pick) =>
  rateOf(now, before, (status) => {
    const found = listener(status, name);
    return found ? pick(found) : 0;
  });

const daysLeft = (days) => ({
  text: days < 0 ? 'expired' : String(days),
  tone: days < 3 ? 'bad' : days < 21 ? 'warn' : '',
});

export const listeners = {
  title: 'Listeners',
  none: 'There are none.',
  columns: [
    ['Listener'],
    ['Addresses', 'code aside'],
    ['Open', 'number'],
    ['New/s', 'number'],
    ['In/s', 'number'],
    ['Out/s', 'number'],
    ['All', 'number aside'],
    ['In', 'number aside'],
    ['Out', 'number aside'],
    ['Errors', 'number'],
    ['Refused', 'number'],
    ['Probes', 'number aside'],
  ],
  most: 50,
  rows: (now, before) =>
    now.listeners.map((one) => [
      one.name,
      one.addresses.join(', ') || 'removed',
      count(one.active),
      perSecond(listenerRate(now, before, one.name, ({ total, outcomes }) => total - outcomes.probe)),
      bytes(listenerRate(now, before, one.name, (it) => it.bytes.in)),
      bytes(listenerRate(now, before, one.name, (it) => it.bytes.out)),
      count(one.total - one.outcomes.probe),
      bytes(one.bytes.in),
      bytes(one.bytes.out),
      count(one.outcomes.error),
      count(one.outcomes.refused),
      count(one.outcomes.probe),
    ]),
};

const routeRate = (now, before, name, route, pick) =>
  rateOf(now, before, (status) => {
    const found = listener(status, name)?.routes.find((one) => one.route === route);
    return found ? pick(found) : 0;
  });

export const routes = {
  title: 'Routes',
  columns: [
    ['Route'],
    ['Listener'],
    ['Open', 'number'],
    ['In/s', 'number'],
    ['Out/s', 'number'],
    ['In', 'number aside'],
    ['Out', 'number aside'],
    ['Ok', 'number aside'],
    ['Errors', 'number'],
    ['Refused', 'number'],
  ],
  most: 20,
  rows: (now, before) =>
    now.listeners.flatMap(({ name, routes: own }) =>
      own.map((one) => [
        one.route === '' ? 'none' : String(one.route),
        name,
        count(one.active),
        bytes(routeRate(now, before, name, one.route, (it) => it.bytes.in)),
        bytes(routeRate(now, before, name, one.route, (it) => it.bytes.out)),
        bytes(one.bytes.in),
        bytes(one.bytes.out),
        count(one.outcomes.ok),
        count(one.outcomes.error),
        count(one.outcomes.refused),
      ]),
    ),
};

const endpointState = ({ state, share, until }, at) =>
  share !== undefined
    ? `slow start ${Math.floor(share * 100)} %`
    : until !== undefined
      ? `ejected, ${ago(at, until)} left`
      : state;
const tones = { up: 'good', slow_start: 'good', ejected: 'bad', down: 'bad' };
/* What needs a look comes first. */
const urgency = ({ state, drained }) => (state === 'down' || state === 'ejected' ? 0 : drained ? 1 : 2);

export const endpoints = {
  title: 'Endpoints',
  none: 'No upstream has any.',
  columns: [
    ['Upstream'],
    ['Endpoint', 'code long'],
    ['State'],
    ['', 'act'],
    ['For', 'aside'],
    ['Open', 'number aside'],
    ['Last error', 'long'],
  ],
  most: 40,
  rows: (now) =>
    now.upstreams
      .flatMap(({ name, endpoints: own, drained }) =>
        own.map((one) => ({ name, one, isWhole: drained === true })),
      )
      .sort((a, b) => urgency(a.one) - urgency(b.one))
      .map(({ name, one, isWhole }) => [
        name,
        one.label,
        {
          text: endpointState(one, now.at) + (one.drained ? ', drained' : ''),
          tone: one.drained ? 'warn' : tones[one.state] || '',
        },
        { text: one.drained ? 'Undrain…' : 'Drain…', act: () => askDrain(name, one, isWhole) },
        one.since === null ? '–' : ago(one.since, now.at),
        count(one.active),
        (one.last_error_at ? `${ago(one.last_error_at, now.at)} ago: ` : '') + (one.last_error || ''),
      ]),
};

export const errors = {
  title: 'Connections that ended with a code',
  none: 'None since the start.',
  columns: [
    ['Code', 'code'],
    ['Count', 'number'],
    ['/s', 'number aside'],
    ['Listener'],
    ['Side'],
    ['Last', 'long'],
  ],
  most: 20,
  rows: (now, before) =>
    now.listeners
      .flatMap((one) => one.errors.map((error) => ({ ...error, name: one.name })))
      .sort((a, b) => b.count - a.count)
      .slice(0, 200)
      .map(({ name, side, code, count: many, last }) => {
        const countIn = ({ errors: all }) =>
          all.find((it) => it.side === side && it.code === code)?.count ?? 0;
        const rate = listenerRate(now, before, name, countIn);
        return [
          { text: code, act: () => explainCode(code) },
          count(many),
          perSecond(rate),
          name,
          side,
          last
            ? { text: `${ago(last.at, now.at)} ago, ${last.client}: ${last.error}`, title: last.conn }
            : '–',
        ];
      }),
};

export const certificates = {
  title: 'Certificates',
  columns: [['Certificate'], ['Days', 'number'], ['Expires', 'number'], ['Key', 'aside'], ['Names', 'long']],
  most: 30,
  rows: (now) =>
    [...now.certificates]
      .sort((a, b) => a.days_left - b.days_left)
      .map((one) => [
        { text: one.name, title: one.pin },
        daysLeft(one.days_left),
        day(one.expires),
        one.key_type,
        one.names.slice(0, 5).join(', ') + (one.names.length > 5 ? ` and ${one.names.length - 5} more` : ''),
      ]),
};

export const authorities = {
  title: 'Authorities',
  columns: [
    ['Authority'],
    ['CA days', 'number'],
    ['Expires', 'number'],
    ['CRL days', 'number'],
    ['Next CRL', 'number aside'],
  ],
  most: 30,
  rows: (now) =>
    now.authorities.map((one) => [
      one.name,
      daysLeft(one.days_left),
      day(one.expires),
      one.crl_days_left === null ? '–' : daysLeft(one.crl_days_left),
      one.crl_next_update === null ? '–' : day(one.crl_next_update),
    ]),
};

export const workers = {
  title: 'Workers',
  columns: [
    ['Worker'],
    ['Process', 'number aside'],
    ['State'],
    ['Open', 'number'],
    ['CPU', 'number'],
    ['Memory', 'number'],
  ],
  rows: (now, before) =>
    now.workers.map((one) => {
      const cpu = rateOf(
        now,
        before,
        (status) => status.workers.find(({ pid }) => pid === one.pid)?.cpu_seconds ?? 0,
      );
      return [
        String(one.id),
        String(one.pid),
        { text: one.state, tone: one.state === 'ready' ? 'good' : 'warn' },
        count(one.connections),
        cpu === undefined ? '–' : `${Math.round(cpu * 100)} %`,
        bytes(one.rss),
      ];
    }),
};
