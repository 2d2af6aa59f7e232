/* The machines that serve as one, and what this one serves of it. */
import { day, span } from './format.js';

export const machines = {
  title: 'Machines of the cluster',
  columns: [
    ['Machine'],
    ['Revision', 'number'],
    ['Held back', 'number'],
    ['Leads'],
    ['Version', 'aside'],
    ['Since', 'number aside'],
  ],
  rows: ({ cluster }) =>
    cluster === undefined
      ? []
      : cluster.machines.map((one) => [
          { text: one.name, tone: one.name === cluster.machine ? 'good' : '' },
          String(one.revision),
          { text: String(one.held), tone: one.held > 0 ? 'bad' : '' },
          {
            text: one.alarm === null ? (one.leads ? 'leads' : '') : one.alarm,
            tone: one.alarm === null ? '' : 'bad',
          },
          one.version,
          day(one.since),
        ]),
};

const howServed = ({ connected, source, silent_seconds: seconds }) =>
  connected
    ? { text: 'up to date', tone: 'good' }
    : { text: `${source === 'none' ? 'nothing' : 'unchanged'} for ${span(seconds * 1000)}`, tone: 'bad' };

export const served = {
  title: 'What this machine serves of it',
  columns: [['What', 'code'], ['Served'], ['Why', 'long']],
  rows: ({ cluster }) =>
    cluster === undefined
      ? []
      : [
          [`revision ${cluster.revision}`, howServed(cluster), cluster.fault || cluster.alarm || ''],
          ...cluster.held.map(({ object, serving, faults }) => [
            object,
            { text: serving, tone: 'bad' },
            faults.join('; '),
          ]),
        ],
};
