/**
 * The kinds of values in a configuration: how each is written, and what it is after parsing. `off` is
 * Infinity, times are milliseconds.
 */
import { z } from 'zod';
import { parseCidr } from '../../net/address.ts';
import { parseBinding, parseEndpoint } from '../../net/written-address.ts';

const secondsIn = { ms: 1e-3, s: 1, m: 60, h: 3600, d: 86400 } as const;

const off = z.union([z.literal('off'), z.literal(false)]).transform(() => Number.POSITIVE_INFINITY);

export const duration = z
  .string()
  .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'expected a duration such as 250ms, 5s, 10m or 1h')
  .transform((text) => {
    const unit = /[a-z]+$/.exec(text)?.[0] as keyof typeof secondsIn;
    return Math.round(Number.parseFloat(text) * secondsIn[unit] * 1000);
  })
  // setTimeout counts in 31 bits.
  .refine((ms) => ms >= 1 && ms <= 2 ** 31 - 1, 'expected between 1ms and 24d')
  .meta({ title: 'duration', samples: ['250ms', '5s', '10m', '1h'] });
export const durationOrOff = z
  .union([off, duration], 'expected a duration such as 250ms, 5s, 10m or 1h, or off')
  .meta({ title: 'duration or `off`' });

export const countOrOff = z
  .union([off, z.int().min(1)], 'expected a whole number of 1 or more, or off')
  .meta({ title: 'whole number or `off`', samples: [1000, 'off'] });
export const rateOrOff = z
  .union(
    [
      off,
      z
        .string()
        .regex(/^\d+\/(s|m|h)$/)
        .transform((text) => {
          const [count = '', unit = 's'] = text.split('/');
          return Number(count) / secondsIn[unit as keyof typeof secondsIn];
        }),
    ],
    'expected a rate such as 50/s or 600/m, or off',
  )
  .refine((rate) => rate > 0, 'expected a rate above zero, or off')
  .meta({ title: 'rate or `off`', samples: ['50/s', '600/m', 'off'] });

export const cidr = z
  .string()
  .refine((text) => {
    try {
      parseCidr(text);
      return true;
    } catch {
      return false;
    }
  }, 'expected an address or a CIDR such as 10.0.0.0/8 or 2001:db8::/32')
  .meta({
    title: 'address or CIDR',
    samples: ['10.0.0.0/8', '2001:db8::/32', '192.0.2.1'],
    // For editors, which know only the JSON Schema; the same goes for the other patterns here.
    pattern: '^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$',
  });

/** One or a list in the file, always a list after parsing; an empty list is an error. */
export function oneOrMore<T extends z.ZodType>(item: T) {
  return z
    .union([z.array(item).min(1, 'expected at least one entry'), item.transform((value) => [value])])
    .transform((value) => value as z.output<T>[]);
}

export const name = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/,
    'expected a name of letters, digits, "-", "_" and ".", at most 63',
  )
  .meta({ title: 'name' });
export const path = z.string().min(1, 'expected a path').meta({ title: 'path' });

/** Matches a host, which may be missing as in `:5432`; for the patterns of the JSON Schema. */
const anyHost = '([^:[\\]]*|\\[[^\\]]*\\])';

export const bindAddress = z
  .string()
  .refine((text) => parseEndpoint(text) !== undefined, 'expected host:port, [v6]:port, :port or unix:/path')
  .meta({
    title: 'address',
    samples: ['127.0.0.1:9901', 'unix:/run/penstock/admin.sock'],
    pattern: `^(unix:.+|${anyHost}:[0-9]{1,5})$`,
  });

export const listenAddress = z
  .string()
  .refine(
    (text) => parseBinding(text) !== undefined,
    'expected host:port, [v6]:port, :port, unix:/path or systemd:NAME',
  )
  .meta({
    title: 'address',
    samples: ['0.0.0.0:5432', '[::]:5432', ':5432', 'unix:/run/penstock/db.sock', 'systemd:db'],
    pattern: `^((unix|systemd):.+|${anyHost}:[0-9]{1,5})$`,
  });

export const dialAddress = z
  .string()
  .refine((text) => {
    const endpoint = parseEndpoint(text);
    return (
      endpoint !== undefined && ('path' in endpoint || (endpoint.host !== undefined && endpoint.port > 0))
    );
  }, 'expected host:port, [v6]:port or unix:/path')
  .meta({
    title: 'address',
    samples: [
      '10.0.1.5:5432',
      'db.internal:5432',
      '{sni.1}.tenants.svc:5432',
      'unix:/run/postgresql/.s.PGSQL.5432',
    ],
    pattern: '^(unix:.+|([^:[\\]]+|\\[[^\\]]+\\]):[0-9]{1,5})$',
  });

/** Where to check instead of the endpoint: a host without a port, or a unix socket. */
export const checkAddress = z
  .string()
  .regex(
    /^(unix:.+|[\w.-]+|\[[0-9A-Fa-f:.%\w]+\]|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)$/,
    'expected a host name or address without a port, or unix:/path',
  )
  .meta({ title: 'host', samples: ['10.0.1.9', 'agent.internal', 'unix:/run/agent.sock'] });

const status = 'expected a status code such as 200, or a range such as 200-299';
/** `200`, or `200-299`. */
export const statusRange = z
  .union(
    [z.int().min(100, status).max(599, status), z.string().regex(/^[1-5]\d\d(-[1-5]\d\d)?$/, status)],
    status,
  )
  .transform((value) => {
    const [least = 0, most = least] = String(value).split('-').map(Number);
    return { least, most };
  })
  .meta({ title: 'status code or range', samples: [200, '200-299'] });

export const serverName = z
  .string()
  .max(253)
  .transform((text) => text.toLowerCase().replace(/\.$/, ''))
  .refine(
    (text) =>
      text === '*' ||
      /^(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/.test(text),
    'expected a host name such as db.example.com or *.example.com, or * for any name',
  )
  .meta({
    title: 'server name',
    samples: ['db.example.com', '*.example.com', '*'],
    pattern: '^(\\*|(\\*\\.)?([A-Za-z0-9_-]+\\.)*[A-Za-z0-9_-]+\\.?)$',
  });

export const pin = z
  .string()
  .regex(
    /^sha256:[A-Za-z0-9+/]{43}=$/,
    'expected sha256: and the base64 of a SHA-256 (penstock prints it: `penstock check`)',
  )
  .meta({ title: 'pin', samples: ['sha256:A9Ic+HO1vU5BuyI5K8bfuNeRZnPrYGmy7ZWnPuDsic0='] });

export const version = z
  .union([z.literal('1.2'), z.literal('1.3'), z.literal(1.2), z.literal(1.3)], 'expected "1.2" or "1.3"')
  .transform((value) => `TLSv${value}` as 'TLSv1.2' | 'TLSv1.3')
  .meta({ title: '`"1.2"` or `"1.3"`' });

/** After parsing each character is a byte. */
export const byteText = z
  .string()
  .min(1, 'expected at least one character')
  .regex(/^(?:[^\\]|\\(?:[rnt0\\]|x[0-9a-fA-F]{2}))*$/, 'after "\\" expected one of r, n, t, 0, xHH and "\\"')
  .transform((text) =>
    Buffer.from(text)
      .toString('latin1')
      .replace(/\\(x..|.)/g, unescapeByte),
  )
  .meta({ title: 'text' });

const namedBytes: Readonly<Record<string, string>> = { r: '\r', n: '\n', t: '\t', '0': '\0', '\\': '\\' };

function unescapeByte(_: string, code: string): string {
  return namedBytes[code] ?? String.fromCharCode(Number.parseInt(code.slice(1), 16));
}
