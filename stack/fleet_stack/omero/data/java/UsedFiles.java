import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

import loci.common.DebugTools;
import loci.formats.IFormatReader;
import loci.formats.ImageReader;

/** Says what Bio-Formats makes of files: one path per line of standard input, one JSON object per line of output. */
public class UsedFiles {
    public static void main(String[] args) throws Exception {
        DebugTools.setRootLevel("OFF");
        java.io.PrintStream out = new java.io.PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), true, "UTF-8");
        System.setOut(System.err); // a reader that chats must not end up between our lines
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String path = in.readLine(); path != null; path = in.readLine()) {
            out.println(describe(path));
        }
    }

    private static String describe(String path) {
        try (ImageReader reader = new ImageReader()) {
            // as OMERO's importer does
            reader.setGroupFiles(true);
            reader.setOriginalMetadataPopulated(false);
            reader.setId(path);
            return result(reader);
        } catch (Throwable problem) {
            return "{\"error\":" + quote(problem.toString()) + "}";
        }
    }

    private static String result(ImageReader reader) {
        IFormatReader inner = reader.getReader();
        StringBuilder json = new StringBuilder("{\"reader_class\":" + quote(inner.getClass().getName()));
        json.append(",\"files\":[");
        String separator = "";
        for (String file : reader.getUsedFiles()) {
            json.append(separator).append(quote(file));
            separator = ",";
        }
        json.append("],\"series\":[");
        separator = "";
        for (int series = 0; series < reader.getSeriesCount(); series++) {
            reader.setSeries(series);
            json.append(separator).append(String.format("{\"x\":%d,\"y\":%d,\"z\":%d,\"c\":%d,\"t\":%d}",
                reader.getSizeX(), reader.getSizeY(), reader.getSizeZ(), reader.getSizeC(), reader.getSizeT()));
            separator = ",";
        }
        return json.append("]}").toString();
    }

    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            } else if (c < 0x20) {
                quoted.append(String.format("\\u%04x", (int) c));
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }
}
