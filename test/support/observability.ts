/** What `config/observability/` asks Prometheus for. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse } from 'yaml';

export const directory = resolve(import.meta.dirname, '../../config/observability');

export type Panel = {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly datasource?: { readonly uid: string };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string; readonly datasource: { readonly uid: string } }[];
};

export type Dashboard = {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
};

export function readDashboard(): Dashboard {
  return JSON.parse(readFileSync(`${directory}/grafana-dashboard.json`, 'utf8'));
}

/** Every query of the dashboard, its variables replaced by what Grafana would put there. */
export function dashboardQueries({ panels }: Dashboard): string[] {
  return panels
    .flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
    .map((expr) =>
      expr.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.*').replaceAll('$listener', 'a|b'),
    );
}

export type Rule = { readonly alert: string; readonly expr: string };

export function readRules(): Rule[] {
  const { groups } = parse(readFileSync(`${directory}/penstock.rules.yml`, 'utf8')) as {
    groups: { rules: Rule[] }[];
  };
  return groups.flatMap(({ rules }) => rules);
}

/** The names of the metrics in a query, each with the labels it is selected by. */
export function selectorsOf(query: string): { name: string; labels: string[] }[] {
  const names = /\b((?:penstock|process|nodejs)_[a-z_]+)\b(?:\{([^}]*)\})?/g;
  return [...query.matchAll(names)].map(([, name = '', selector = '']) => ({
    name,
    labels: [...selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = '']) => label),
  }));
}
