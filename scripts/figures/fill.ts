/** Fills blocks of figures into a document, and leaves those alone that break a rule. */
import { type Draft, refusalsOf } from './rules.js';

/** Draws a block, or says in words why there is nothing to draw it from. */
export type Block = () => Draft | string;

export interface Filled {
  readonly text: string;
  /** Why blocks stayed as they were: `fan-out: …`. */
  readonly refused: readonly string[];
}

/** A block of whole lines, or one within a sentence: `<!-- figure:NAME -->…<!-- /figure -->`. */
const BLOCKS =
  /(<!-- figures:([\w-]+) -->\n)[\s\S]*?(<!-- \/figures -->)|(<!-- figure:([\w-]+) -->)[^\n]*?(<!-- \/figure -->)/g;

export function fillBlocks(text: string, blocks: Readonly<Record<string, Block>>): Filled {
  const refused: string[] = [];
  const filled = text.replace(
    BLOCKS,
    (all: string, open?: string, lines?: string, close?: string, ...within: unknown[]) => {
      const [begin, word, end] = within as [string?, string?, string?];
      const name = lines ?? word ?? '';
      const block = blocks[name];
      if (block === undefined)
        throw new Error(`no figures "${name}"; there are ${Object.keys(blocks).join(', ')}`);
      const draft = block();
      const refusals = typeof draft === 'string' ? [draft] : refusalsOf(draft);
      if (typeof draft === 'string' || refusals.length > 0) {
        refused.push(...refusals.map((why) => `${name}: ${why}`));
        return all;
      }
      return lines === undefined ? `${begin}${draft.text}${end}` : `${open}${draft.text}\n${close}`;
    },
  );
  return { text: filled, refused: [...new Set(refused)] };
}
