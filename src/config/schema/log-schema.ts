/** The log's section of the configuration. */
import { z } from 'zod';
import { levels } from './levels.ts';
import { path } from './values.ts';

export const log = z
  .strictObject({
    level: z.enum(levels).default('info').describe('The least severe level written.'),
    destination: z
      .string()
      .min(1)
      .default('stdout')
      .describe(
        '`stdout`, `stderr`, a file (reopened on SIGUSR1), or `syslog`: RFC 5424 to the unix socket /dev/log, or with `syslog:/path` to another.',
      ),
    access: z.boolean().default(true).describe('One line per closed connection.'),
    access_open: z.boolean().default(false).describe('Another line when it is established.'),
    tls_keys: path
      .optional()
      .describe(
        'DANGEROUS: writes the secrets of all TLS sessions to this file, for Wireshark; never use it in production.',
      )
      .meta({ samples: ['tls-keys.log'] }),
  })
  .prefault({})
  .describe('The log: one JSON object per line; formatted for reading on a terminal.');
