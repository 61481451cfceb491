/** The tables of our own code: alternatives, socket options, micro benchmarks and the planner. */
import {
  type AlternativesFigures,
  type AlternativesParameters,
  alternativeTitle,
} from '../../bench/alternatives.js';
import { type KnobsFigures, type KnobsParameters, figureText } from '../../bench/knobs.js';
import type { MicroFigures, MicroParameters } from '../../bench/micro.js';
import type { PlanParameters, PlanRound, PlanSummary, Prediction } from '../../bench/plan-check.js';
import { type Result, readResult } from '../../bench/results.js';
import { type Figure, fixed, ms, nanoseconds, percent, short } from '../../bench/table.js';
import { discardedNote, keptCell, keptRounds } from './kept-rounds.js';
import { NOT_MEASURED, caption, notMeasured, table, withCaption } from './markdown.js';

/** What each mechanism delivers and costs, also relative to the first, which is Holdline's own. */
export function alternativesTable(): string {
  const result = readResult('alternatives') as
    | Result<AlternativesParameters, unknown, AlternativesFigures[]>
    | undefined;
  if (result === undefined) return `${NOT_MEASURED} yet: \`npm run bench -- alternatives\``;
  const { parameters, summary } = result;
  const head = [
    'deliveries/s',
    'p99',
    'CPU µs a delivery',
    'writes/s',
    'in garbage collection',
    'V8 heap a line',
    'rounds kept',
  ];
  const tables = parameters.ratesPerSecond.map((ratePerSecond) => {
    const rows = summary
      .filter((figures) => figures.ratePerSecond === ratePerSecond)
      .map((figures) => [
        alternativeTitle(figures.name),
        keptCell(figures, ({ deliveriesPerSecond }) => short(deliveriesPerSecond)),
        ms(figures.p99Ms),
        fixed(figures.serverCpuUsPerDelivery, 2),
        short(figures.writesPerSecond),
        percent(figures.collectingShare),
        `${fixed(figures.heapBytesPerLine, 0)} B`,
        keptRounds(figures),
      ]);
    return table([`${ratePerSecond} events/s to ${short(parameters.lines)} lines`, ...head], rows);
  });
  const notes = [...discardedNote(summary), caption(result)];
  return `${tables.join('\n\n')}\n\n<sub>${notes.join('<br>\n')}</sub>`;
}

/** A table for each of the first so many scenes. */
export function knobsTable(sceneCount = Infinity): string {
  const result = readResult('knobs') as
    | Result<KnobsParameters, unknown, KnobsFigures[]>
    | undefined;
  if (result === undefined) return `${NOT_MEASURED} yet: \`npm run bench -- knobs\``;
  // The scene is above its settings.
  const scenes = [...new Set(result.summary.map(({ scene }) => scene))].slice(0, sceneCount);
  const tables = scenes.map((scene) => {
    const figures = result.summary.filter((one) => one.scene === scene);
    const measures = [...new Set(figures.map(({ measured }) => measured))];
    const rows = [...new Set(figures.map(({ setting }) => setting))].map((setting) => [
      setting === 'defaults' ? setting : `\`${setting}\``,
      ...measures.map((measured) => {
        const figure = figures.find((one) => one.setting === setting && one.measured === measured);
        return figure === undefined ? '–' : figureText(figure);
      }),
    ]);
    return table([scene, ...measures], rows);
  });
  return withCaption(tables.join('\n\n'), result);
}

export function microTable(): string {
  const result = readResult('micro') as
    | Result<MicroParameters, unknown, MicroFigures[]>
    | undefined;
  const head = ['', 'median', 'p99', 'unit'];
  const rows = (result?.summary ?? []).map((figures) => [
    figures.name,
    nanoseconds(figures.medianNs),
    nanoseconds(figures.p99Ns),
    figures.per,
  ]);
  return withCaption(
    table(head, rows.length > 0 ? rows : [notMeasured('micro', head.length)]),
    result,
  );
}

export function planTable(): string {
  const result = readResult('plan') as Result<PlanParameters, PlanRound, PlanSummary> | undefined;
  const head = [
    'predicted · measured',
    'round',
    'memory',
    'off',
    'of it the process',
    'the kernel',
    'CPU',
    'off',
    'a delivery',
    'off',
    'p50',
    'p99',
  ];
  const both = ({ predicted, measured }: Prediction, draw: (value: Figure) => string): string =>
    `${draw(predicted)} · ${draw(measured)}`;
  const mib = (bytes: Figure): string =>
    bytes === null ? '–' : `${fixed(bytes / 2 ** 20, 1)} MiB`;
  const bytes = (count: Figure): string => (count === null ? '–' : `${fixed(count, 0)} B`);
  const off = ({ off: by }: Prediction): string =>
    `${by < 0 ? '−' : '+'}${fixed(Math.abs(by) * 100, 0)} %`;
  const rows = (result?.rounds ?? []).map((round) => [
    `${short(round.lines)} ${round.isCompressed ? 'compressed ' : ''}lines, ` +
      `${round.ratePerSecond}/s of ${short(round.eventBytes)} B${round.passed ? '' : ' **out of tolerance**'}`,
    String(round.round),
    both(round.memoryBytes, mib),
    off(round.memoryBytes),
    both(round.userBytes, mib),
    both(round.kernelBytes, mib),
    both(round.cpuShare, percent),
    off(round.cpuShare),
    both(round.deliveryBytes, bytes),
    off(round.deliveryBytes),
    both(round.p50Ms, ms),
    both(round.p99Ms, ms),
  ]);
  return withCaption(
    table(head, rows.length > 0 ? rows : [notMeasured('plan', head.length)]),
    result,
  );
}
