/** TLS towards an upstream. */
import { z } from 'zod';
import { protocolNames } from '../../protocols/table.ts';
import { alpnName, ciphers, groups } from './tls-schema.ts';
import { name, oneOrMore, pin, version } from './values.ts';

export const upstreamTls = z
  .strictObject({
    starttls: z.enum(protocolNames).optional().describe('Absent: TLS from the first byte.'),
    server_name: z
      .string()
      .min(1)
      .optional()
      .describe('The name to send and verify. Default: the endpoint’s host; `{sni}` is the client’s.')
      .meta({ samples: ['orders.internal', '{sni}'] }),
    authority: name.default('system').describe('The authority that penstock trusts.'),
    certificate: name
      .optional()
      .describe('The certificate that penstock presents: mutual TLS.')
      .meta({ samples: ['proxy-client'] }),
    pins: z
      .array(pin)
      .min(1)
      .optional()
      .describe('Keys to require in addition to the authority, or alone with `verify: pin`.'),
    verify: z
      .enum(['full', 'ca', 'pin', 'none'])
      .default('full')
      .describe(
        '`full`: chain and name. `ca`: only the chain. `pin`: only the key. `none`: nothing; penstock warns at start.',
      ),
    alpn: oneOrMore(alpnName).optional().describe('Protocols to offer.'),
    min_version: version.prefault('1.2').describe('The lowest TLS version.'),
    max_version: version.prefault('1.3').describe('The highest TLS version.'),
    ciphers: ciphers.optional(),
    groups: groups.optional(),
  })
  .describe('TLS towards the upstream.');
