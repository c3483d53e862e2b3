"""Tables with typed columns: one without any value has its type too."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow


def to_table(
    rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, str], names: Sequence[str] = ()
) -> "pyarrow.Table":
    """Returns rows as a table.

    Args:
      rows: values by column; one that a row has not is null.
      kinds: type of a column, as pyarrow names it; of others it is that of the values.
      names: the columns; none: those of the rows.

    >>> to_table([{"a": 1}, {"b": None}], {"b": "string"}).schema.types
    [DataType(int64), DataType(string)]
    """
    import pyarrow as pa

    names = names or list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    return pa.table({name: pa.array(column, kinds.get(name)) for name, column in columns.items()})


def to_flat(table: "pyarrow.Table") -> "pyarrow.Table":
    """Returns a table without lists, which a CSV file cannot hold: they become JSON."""
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [None if v is None else json.dumps(v) for v in table[field.name].to_pylist()]
            table = table.set_column(index, field.name, pa.array(texts, pa.string()))
    return table
