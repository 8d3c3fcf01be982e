// Reads LogQL queries, a JSON array on standard input, by Grafana's own grammar. Writes an array with what each says:
// errors, the text from each place on where it is no LogQL; stream, its matchers of streams; filters, those of labels
// and of lines; named, the labels that it groups by or unwraps. A matcher is [label, operator, value], a line's label "".
import { readFileSync } from "node:fs";
import { parser } from "@grafana/lezer-logql";

function read(query) {
  const tree = parser.parse(query);
  const text = (node) => query.slice(node.from, node.to);
  const value = (string) => (string[0] === "`" ? string.slice(1, -1) : JSON.parse(string));
  const found = { errors: [], stream: [], filters: [], named: [] };
  tree.iterate({ enter: (at) => void (at.type.isError && found.errors.push(query.slice(at.from))) });
  if (found.errors.length > 0) return found;
  tree.iterate({
    enter: ({ name, node }) => {
      const { parent, firstChild: first, lastChild: last } = node;
      if (name === "Matcher" && parent.name === "Matchers")
        found.stream.push([text(first), text(first.nextSibling), value(text(last))]);
      else if (name === "LabelFilter" && first.name === "Matcher")
        found.filters.push([text(first.firstChild), text(first.firstChild.nextSibling), value(text(first.lastChild))]);
      else if (name === "LineFilter") found.filters.push(["", text(first), value(text(last))]);
      else if (name === "LabelFilter") throw new Error(`comparisons of numbers are not read yet: ${text(node)}`);
      else if (name === "Identifier" && ["Labels", "UnwrapExpr"].includes(parent.name)) found.named.push(text(node));
    },
  });
  return found;
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(read)));
