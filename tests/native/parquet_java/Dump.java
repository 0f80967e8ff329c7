import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.filter2.compat.FilterCompat;
import org.apache.parquet.filter2.predicate.FilterApi;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.schema.Type;

import java.io.IOException;
import java.nio.file.Files;
import java.util.HexFormat;
import java.util.StringJoiner;

/** Writes rows as parquet-java reads them: one line a row, its fields between tabs, groups in round and lists in square
 * brackets, values as they are stored. */
class Dump {
    /** LEAST FILE...: each FILE's rows go to FILE.all; those whose `id` is at least LEAST, found by statistics, to FILE.some. */
    public static void main(String[] arguments) throws Exception {
        var least = FilterApi.gtEq(FilterApi.longColumn("id"), Long.parseLong(arguments[0]));
        for (int index = 1; index < arguments.length; index++) {
            String file = arguments[index];
            dump(open(file), file + ".all");
            // Its filter by dictionary fails on any LZ4 page, pyarrow's too ("all input must be consumed").
            dump(open(file).withFilter(FilterCompat.get(least)).useDictionaryFilter(false), file + ".some");
        }
    }

    private static ParquetReader.Builder<Group> open(String file) {
        return ParquetReader.builder(new GroupReadSupport(), new Path(file)).withConf(new Configuration());
    }

    private static void dump(ParquetReader.Builder<Group> builder, String file) throws IOException {
        try (ParquetReader<Group> reader = builder.build(); var out = Files.newBufferedWriter(java.nio.file.Path.of(file))) {
            for (Group row = reader.read(); row != null; row = reader.read()) {
                out.append(fields(row, "\t"));
                out.append('\n');
            }
        }
    }

    private static String fields(Group row, String between) {
        var shown = new StringJoiner(between);
        for (int field = 0; field < row.getType().getFieldCount(); field++) {
            shown.add(values(row, field));
        }
        return shown.toString();
    }

    /** A field's value, or all of them where it may have many. */
    private static String values(Group row, int field) {
        int count = row.getFieldRepetitionCount(field);
        if (!row.getType().getType(field).isRepetition(Type.Repetition.REPEATED)) {
            return count == 0 ? "null" : value(row, field, 0);
        }
        var shown = new StringJoiner(",", "[", "]");
        for (int index = 0; index < count; index++) {
            shown.add(value(row, field, index));
        }
        return shown.toString();
    }

    private static String value(Group row, int field, int index) {
        Type type = row.getType().getType(field);
        if (!type.isPrimitive()) {
            return "(" + fields(row.getGroup(field, index), ",") + ")";
        }
        return switch (type.asPrimitiveType().getPrimitiveTypeName()) {
            case INT32 -> Integer.toString(row.getInteger(field, index));
            case INT64 -> Long.toString(row.getLong(field, index));
            case FLOAT -> Integer.toString(Float.floatToRawIntBits(row.getFloat(field, index)));
            case DOUBLE -> Long.toString(Double.doubleToRawLongBits(row.getDouble(field, index)));
            case BOOLEAN -> Boolean.toString(row.getBoolean(field, index));
            default -> "x" + HexFormat.of().formatHex(row.getBinary(field, index).getBytes());
        };
    }
}
