/** The Admin API: HTTP by which others change what is served, in the shape of APISIX's. */
import { z } from 'zod';
import { bindAddress, name, path } from './values.ts';

const apiKey = z.strictObject({
  role: z
    .enum(['admin', 'viewer'])
    .default('admin')
    .describe('`admin` may change everything, `viewer` only read.'),
  file: path
    .describe('A file with the key on its first line, 16 characters or more.')
    .meta({ samples: ['/etc/penstock/admin.key'] }),
});

const apiTls = z.strictObject({
  certificate: name.describe('The certificate that it presents, by name.').meta({ samples: ['admin-api'] }),
  client_auth: z
    .strictObject({
      authority: name
        .describe('Clients need a certificate that chains to this authority.')
        .meta({ samples: ['operators'] }),
    })
    .optional()
    .describe('Client certificates, required beside the key. Absent: none.'),
});

export const adminApi = z.strictObject({
  bind: bindAddress.describe(
    '`host:port` or `unix:/path`. Without `tls`, only a loopback address or a unix socket.',
  ),
  tls: apiTls.optional().describe('HTTPS. Absent: plain HTTP.'),
  keys: z
    .array(apiKey)
    .min(1, 'expected at least one key')
    .describe('The keys that clients send in the header `X-API-KEY`.'),
  store: path
    .optional()
    .describe(
      'The directory that keeps the objects. It belongs to this penstock alone. Absent: etcd keeps them, with `cluster.etcd.layout: apisix`.',
    )
    .meta({ samples: ['/var/lib/penstock/objects'] }),
  seal: path
    .optional()
    .describe(
      'With `store`: secrets that seal private keys in its files, one a line, 32 bytes or more in hex or base64: the first seals, all open. Absent: they lie there in clear text.',
    )
    .meta({ samples: ['/etc/penstock/store.key'] }),
});
