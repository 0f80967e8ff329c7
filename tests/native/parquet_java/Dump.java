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

/** Writes rows as parquet-java reads them: one line a row, one field a flat column, values as they are stored. */
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
                for (int column = 0; column < row.getType().getFieldCount(); column++) {
                    out.append(column == 0 ? "" : "\t").append(value(row, column));
                }
                out.append('\n');
            }
        }
    }

    private static String value(Group row, int column) {
        Type type = row.getType().getType(column);
        if (row.getFieldRepetitionCount(column) == 0) {
            return "null";
        }
        return switch (type.asPrimitiveType().getPrimitiveTypeName()) {
            case INT32 -> Integer.toString(row.getInteger(column, 0));
            case INT64 -> Long.toString(row.getLong(column, 0));
            case FLOAT -> Integer.toString(Float.floatToRawIntBits(row.getFloat(column, 0)));
            case DOUBLE -> Long.toString(Double.doubleToRawLongBits(row.getDouble(column, 0)));
            case BOOLEAN -> Boolean.toString(row.getBoolean(column, 0));
            default -> "x" + HexFormat.of().formatHex(row.getBinary(column, 0).getBytes());
        };
    }
}
