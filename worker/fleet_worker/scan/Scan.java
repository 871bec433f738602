import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

import loci.common.DebugTools;
import loci.formats.FormatTools;
import loci.formats.ImageReader;
import loci.formats.UnknownFormatException;
import org.json.JSONArray;
import org.json.JSONObject;

/**
 * Says what Bio-Formats makes of files: one JSON object per line of standard input, one per line of standard output.
 *
 * The first line of output says the version. Needs nothing but bioformats_package.jar, which has org.json in it.
 */
public class Scan {
    private static PrintStream out;

    public static void main(String[] args) throws Exception {
        out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8");
        System.setOut(System.err); // a reader that chats must not end up between our lines
        DebugTools.setRootLevel("OFF");
        out.println(new JSONObject().put("version", FormatTools.VERSION));
        ExecutorService reading = Executors.newSingleThreadExecutor();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String asked = line;
            reading.execute(() -> answer(asked));
        }
        Runtime.getRuntime().halt(0); // nobody is there any more, even if a reader hangs
    }

    private static void answer(String line) {
        try {
            JSONObject asked = new JSONObject(line);
            out.println(describe(asked.getString("path")).put("id", asked.getInt("id")));
        } catch (Throwable problem) {
            Runtime.getRuntime().halt(3); // whoever asked starts another
        }
    }

    private static JSONObject describe(String path) throws Exception {
        try (ImageReader reader = new ImageReader()) {
            // as OMERO's importer does
            reader.setGroupFiles(true);
            reader.setOriginalMetadataPopulated(false);
            reader.setFlattenedResolutions(false);
            reader.setId(path);
            return result(reader);
        } catch (UnknownFormatException problem) {
            return new JSONObject().put("unknown", true);
        } catch (VirtualMachineError problem) {
            throw problem;
        } catch (Throwable problem) {
            return new JSONObject().put("error", problem.toString());
        }
    }

    private static JSONObject result(ImageReader reader) throws Exception {
        JSONArray series = new JSONArray();
        for (int index = 0; index < reader.getSeriesCount(); index++) {
            reader.setSeries(index);
            series.put(new JSONObject().put("x", reader.getSizeX()).put("y", reader.getSizeY())
                .put("z", reader.getSizeZ()).put("c", reader.getSizeC()).put("t", reader.getSizeT()));
        }
        return new JSONObject().put("reader", reader.getReader().getClass().getName())
            .put("files", new JSONArray(Arrays.asList(reader.getUsedFiles()))).put("series", series)
            .put("plate", Arrays.asList(reader.getDomains()).contains(FormatTools.HCS_DOMAIN));
    }
}
