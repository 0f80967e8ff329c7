SELECT
    planes.manufacturer,
    planes.model,
    count(DISTINCT planes.tailnum) AS planes,
    count(*) AS flights,
    CAST(sum(flights.distance) AS BIGINT) AS miles,
    avg(2013 - planes.year) AS mean_age
FROM flights
JOIN planes ON planes.tailnum = flights.tailnum
GROUP BY planes.manufacturer, planes.model
ORDER BY miles DESC
