/** The `cluster` of a configuration file: machines that share what etcd holds. */
import { z } from 'zod';
import { name, oneOrMore, path } from './values.ts';

const member = z
  .string()
  .refine(isMember, 'expected https://host:port')
  .meta({ title: 'URL', samples: ['https://10.0.0.1:2379'], pattern: '^https://[^/]+$' });

function isMember(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === 'https:' && url.origin === text.replace(/\/$/, '').toLowerCase();
}

const etcd = z
  .strictObject({
    endpoints: oneOrMore(member).describe('The members of the etcd cluster; one that answers is enough.'),
    prefix: z
      .string()
      .regex(/^\/[\w./-]*[\w.-]$/, 'expected a key such as /penstock')
      .optional()
      .describe(
        'Keys begin with PREFIX/NAME/. Default: /penstock. With `layout: apisix` they begin with PREFIX/, by default /apisix/.',
      )
      .meta({ samples: ['/penstock', '/apisix'] }),
    layout: z
      .enum(['penstock', 'apisix'])
      .default('penstock')
      .describe(
        '`apisix`: serve what APISIX has there, read only, by listeners with `stream_routes`; see docs/admin-api.md.',
      ),
    keyring: path
      .optional()
      .describe(
        'With `layout: apisix`: the keys of `apisix.data_encryption.keyring`, one a line. Default: those that APISIX comes with.',
      )
      .meta({ samples: ['/etc/penstock/apisix.keyring'] }),
    authority: name.default('system').describe('The authority that etcd’s certificates chain to.'),
    certificate: name
      .optional()
      .describe('The certificate that penstock presents; its common name is the user of etcd.')
      .meta({ samples: ['machine'] }),
    user: z
      .string()
      .min(1)
      .optional()
      .describe('Instead: a user with a password.')
      .meta({ samples: ['penstock'] }),
    password_file: path
      .optional()
      .describe('That user’s password, on the first line.')
      .meta({ samples: ['/etc/penstock/etcd.password'] }),
  })
  .refine(({ user, password_file }) => (user === undefined) === (password_file === undefined), {
    path: ['user'],
    error: '`user` and `password_file` belong together',
  })
  .transform(({ prefix, ...rest }) => ({
    ...rest,
    prefix: prefix ?? (rest.layout === 'apisix' ? '/apisix' : '/penstock'),
  }))
  .describe('The etcd, version 3.4 or later.');

export const cluster = z
  .strictObject({
    name: name.describe('Machines of one name act as one.').meta({ samples: ['db-edge'] }),
    machine: name
      .optional()
      .describe('This machine; no two have the same. Default: the host’s name.')
      .meta({ samples: ['edge-1'] }),
    etcd,
    seal: path
      .describe(
        'Secrets that seal what is secret in etcd, one a line, 32 bytes or more in hex or base64: the first seals, all open.',
      )
      .meta({ samples: ['/etc/penstock/cluster.key'] }),
    snapshot: z
      .union([z.union([z.literal('off'), z.literal(false)]).transform(() => undefined), path])
      .prefault('/var/lib/penstock/cluster.snapshot')
      .describe('What was served last, sealed: a restart without etcd serves it. `off`: none.')
      .meta({ samples: ['/var/lib/penstock/cluster.snapshot'] }),
    limits: z
      .enum(['machine', 'cluster'])
      .default('machine')
      .describe(
        'Whom `limits.connections` of a listener is for: each machine, or all of them together. Limits per address are always a machine’s.',
      ),
    modules: z
      .record(name, path)
      .default({})
      .describe('Checks (`authorize`) that objects in etcd may name; only the file says where they are.'),
  })
  .refine(({ limits, etcd: { layout } }) => limits === 'machine' || layout === 'penstock', {
    path: ['limits'],
    error: 'with `layout: apisix` each machine counts for itself; remove it',
  })
  .optional()
  .describe('Serve what etcd holds, too, as one of several machines: see docs/cluster.md.');
