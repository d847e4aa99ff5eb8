// "Did you mean …?" for a word we do not know.

/** The candidate nearest to what was typed, if one is near enough to be meant; case does not matter. */
export function nearest(typed: string, candidates: Iterable<string>): string | undefined {
  const word = typed.toLowerCase()
  // A third of the word may be wrong, as in commander's own suggestions; one letter always.
  let best = Math.max(1, Math.floor(word.length * 0.4))
  let found: string | undefined
  for (const candidate of candidates) {
    const edits = distance(word, candidate.toLowerCase(), best)
    if (edits < best || (edits === best && found === undefined)) {
      best = edits
      found = candidate
    }
  }
  return found
}

/** Edits (insert, delete, replace, swap neighbours) from a to b; more than `most` is not counted out. */
function distance(a: string, b: string, most: number): number {
  if (Math.abs(a.length - b.length) > most) return most + 1
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let edits = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) edits = Math.min(edits, before[j - 2]! + 1)
      row.push(edits)
    }
    before = above
    above = row
  }
  return above[b.length]!
}
